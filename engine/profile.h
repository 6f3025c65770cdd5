// SPDX-License-Identifier: Apache-2.0
// The work of each step, and the shortest time it could take on a device: the roofline model (Williams, Waterman & Patterson
// 2009, doi 10.1145/1498765.1498785). The memory roof depends on the size of the data, because a step's activations mostly lie
// in a cache. Pure functions. Tests: tests/golden/profile_test.cpp
#pragma once

#include <cstdint>
#include <string_view>

#include "core/step_times.h"
#include "elek/graph.h"
#include "plan/program.h"

namespace elek {

/// For one run of `batch` samples, all micro-batches together.
struct StepWork {
  double flops = 0;             // by the definition: twice the multiply-adds of a direct convolution or a matrix product
  double kernel_flops = 0;      // those that the kernel does; fewer with Winograd
  double activation_bytes = 0;  // input, residual and output as stored, each once; without pixels that the stride skips
  double weight_bytes = 0;      // packed weights and bias, once per micro-batch
  [[nodiscard]] double bytes() const noexcept { return activation_bytes + weight_bytes; }
};
[[nodiscard]] StepWork work_of(const Graph& graph, const Program& program, size_t step, int64_t batch);

enum class Bound : uint8_t { kNothing, kCompute, kMemory };
[[nodiscard]] std::string_view name_of(Bound bound);  // "", "compute", "memory"

/// The shortest time that a step can take, and what limits it.
struct Roof {
  double us = 0;
  Bound bound = Bound::kNothing;
};
/// The longer of two times. Computing: kernel_flops / peak. Moving: activations / copy bandwidth, for a set as large as one
/// micro-batch's activations and weights, plus weights / read bandwidth, for a set of session_bytes. Between two reads of a
/// weight everything else of the session passes through the caches, so weights are charged with the larger set.
/// `micro_batches` = their number.
[[nodiscard]] Roof roof_of(const StepWork& work, int64_t micro_batches, double session_bytes, const Peaks& peaks);

/// Bytes per second for a set of this size. Interpolates between measured sizes over the logarithm of the size; outside them
/// takes the nearest. ContractError if nothing was measured.
[[nodiscard]] Bandwidth bandwidth_at(const Peaks& peaks, double set_bytes);

}  // namespace elek
