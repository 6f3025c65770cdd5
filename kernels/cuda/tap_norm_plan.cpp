// SPDX-License-Identifier: Apache-2.0
// See tap_norms.h: the host's part, plain integers.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::kernels::cuda {
namespace {

/// Sorts coordinates by the set of taps that meet them: fills begins [classes + 1] and members, leaves out those met by none.
void classify(int64_t extent, int64_t out, int64_t kernel, int64_t stride, int64_t padding, std::vector<uint64_t>& class_taps,
              std::vector<int32_t>& begins, std::vector<int32_t>& members) {
  std::vector<uint64_t> taps(static_cast<size_t>(extent), 0);
  for (int64_t i = 0; i < extent; ++i) {
    for (int64_t r = 0; r < kernel; ++r) {
      const int64_t from = i + padding - r;
      if (from >= 0 && from % stride == 0 && from / stride < out) taps[static_cast<size_t>(i)] |= uint64_t{1} << r;
    }
    const uint64_t mine = taps[static_cast<size_t>(i)];
    if (mine != 0 && std::find(class_taps.begin(), class_taps.end(), mine) == class_taps.end()) class_taps.push_back(mine);
  }
  for (const uint64_t wanted : class_taps) {
    begins.push_back(static_cast<int32_t>(members.size()));
    for (int64_t i = 0; i < extent; ++i) {
      if (taps[static_cast<size_t>(i)] == wanted) members.push_back(static_cast<int32_t>(i));
    }
  }
  begins.push_back(static_cast<int32_t>(members.size()));
}

}  // namespace

TapNormPlan make_tap_norm_plan(const ImageShape& input, int64_t kernel, int64_t stride, int64_t padding) {
  ELEK_CHECK(kernel >= 1 && kernel <= 16 && stride >= 1 && padding >= 0 && padding < kernel && input.channels >= 1 &&
                 std::min(input.height, input.width) >= 1 && std::max(input.height, input.width) <= INT32_MAX &&
                 std::min(input.height, input.width) + 2 * padding >= kernel,
             "tap norms: kernel " + std::to_string(kernel) + " stride " + std::to_string(stride) + " padding " +
                 std::to_string(padding) + " on " + to_string(input) +
                 ", expected kernel 1 … 16, stride >= 1, 0 <= padding < kernel and at least one output position");
  TapNormPlan plan;
  plan.input = input;
  plan.kernel = kernel;
  const auto out = [&](int64_t extent) { return (extent + 2 * padding - kernel) / stride + 1; };
  std::vector<int32_t> row_begins, rows, column_begins, columns;
  classify(input.height, out(input.height), kernel, stride, padding, plan.row_class_taps, row_begins, rows);
  classify(input.width, out(input.width), kernel, stride, padding, plan.column_class_taps, column_begins, columns);
  for (const auto* part : {&row_begins, &column_begins, &rows, &columns}) {
    plan.tables.insert(plan.tables.end(), part->begin(), part->end());
  }
  return plan;
}

size_t tap_norm_bytes(const TapNormPlan& plan) {
  return static_cast<size_t>(plan.pairs() * plan.input.channels) * sizeof(double);
}

void reduce_tap_norms(const TapNormPlan& plan, const double* host_accumulators, double* norm_sq) {
  ELEK_CHECK(host_accumulators != nullptr && norm_sq != nullptr, "reduce_tap_norms: an array is missing");
  const int64_t taps = plan.kernel * plan.kernel, channels = plan.input.channels;
  const auto column_classes = static_cast<int64_t>(plan.column_class_taps.size());
  std::fill_n(norm_sq, channels * taps, 0.0);
  for (int64_t pair = 0; pair < plan.pairs(); ++pair) {
    const uint64_t rows = plan.row_class_taps[static_cast<size_t>(pair / column_classes)];
    const uint64_t columns = plan.column_class_taps[static_cast<size_t>(pair % column_classes)];
    for (int64_t tap = 0; tap < taps; ++tap) {
      if ((rows >> (tap / plan.kernel) & 1) == 0 || (columns >> (tap % plan.kernel) & 1) == 0) continue;
      for (int64_t c = 0; c < channels; ++c) norm_sq[c * taps + tap] += host_accumulators[pair * channels + c];
    }
  }
}

}  // namespace elek::kernels::cuda
