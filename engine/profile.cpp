// SPDX-License-Identifier: Apache-2.0
// The work of a step, and its roof. Tests: tests/golden/profile_test.cpp
#include "engine/profile.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "plan/program.h"

namespace elek {
namespace {

/// The share of the input's pixels that a node reads.
double share_read(const Node& node) {
  const Window window = window_of(node.attrs);
  const auto share = [](int64_t kernel, int64_t stride) {
    return std::min(1.0, static_cast<double>(kernel) / static_cast<double>(stride));
  };
  return share(window.kernel.height, window.stride.height) * share(window.kernel.width, window.stride.width);
}

}  // namespace

StepWork work_of(const Graph& graph, const Program& program, size_t step, int64_t batch) {
  const ProgramStep& s = program.steps.at(step);
  const auto samples = static_cast<double>(batch);
  const int64_t micro_batches = (batch + program.micro_batch - 1) / program.micro_batch;
  const auto bytes_of = [&](int32_t tensor) {
    if (tensor < 0) return 0.0;
    return static_cast<double>(program.tensors[static_cast<size_t>(tensor)].bytes) / static_cast<double>(program.micro_batch);
  };
  StepWork work;
  if (step == 0) {  // reads pixels, one byte per value
    work.activation_bytes = samples * (static_cast<double>(graph.input_shape().elements()) + bytes_of(s.output));
    return work;
  }
  if (s.alias) return work;
  work.flops = 2 * samples * static_cast<double>(macs(graph, s.node.node));
  work.kernel_flops = work.flops * s.arithmetic;
  double more = 0;
  for (const int32_t input : s.more) more += bytes_of(input);
  work.activation_bytes =
      samples * (bytes_of(s.input) * share_read(s.node.node) + bytes_of(s.residual) + more + bytes_of(s.output));
  work.weight_bytes = static_cast<double>(micro_batches) * static_cast<double>(s.weights_bytes);
  return work;
}

std::string_view name_of(Bound bound) {
  switch (bound) {
    case Bound::kCompute:
      return "compute";
    case Bound::kMemory:
      return "memory";
    case Bound::kNothing:
      break;
  }
  return "";
}

Bandwidth bandwidth_at(const Peaks& peaks, double set_bytes) {
  const std::vector<Bandwidth>& all = peaks.bandwidths;
  ELEK_CHECK(!all.empty(), "no bandwidth was measured");
  const auto above =
      std::find_if(all.begin(), all.end(), [&](const Bandwidth& b) { return static_cast<double>(b.set_bytes) >= set_bytes; });
  if (above == all.begin()) return all.front();
  if (above == all.end()) return all.back();
  const Bandwidth& low = *(above - 1);
  const Bandwidth& high = *above;
  const double span = std::log(static_cast<double>(high.set_bytes) / static_cast<double>(low.set_bytes));
  const double share = std::log(set_bytes / static_cast<double>(low.set_bytes)) / span;
  return {static_cast<size_t>(set_bytes), low.copy + share * (high.copy - low.copy), low.read + share * (high.read - low.read)};
}

Roof roof_of(const StepWork& work, int64_t micro_batches, double session_bytes, const Peaks& peaks) {
  const double bytes = work.bytes();
  if (!(bytes > 0) && !(work.kernel_flops > 0)) return {};
  const double copy = bandwidth_at(peaks, bytes / static_cast<double>(micro_batches)).copy;
  const double read = bandwidth_at(peaks, std::max(session_bytes, bytes / static_cast<double>(micro_batches))).read;
  const double memory_us = 1e6 * (work.activation_bytes / copy + work.weight_bytes / read);
  const double compute_us = 1e6 * work.kernel_flops / peaks.flops;
  if (compute_us >= memory_us) return {compute_us, Bound::kCompute};
  return {memory_us, Bound::kMemory};
}

}  // namespace elek
