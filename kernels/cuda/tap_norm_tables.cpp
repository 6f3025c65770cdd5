// SPDX-License-Identifier: Apache-2.0
// The host part of tap_norms.h: plain integers.
#include "core/error.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::kernels::cuda {
namespace {

/// Sorts coordinates by class. begins: where each class begins in `members`; members: the coordinates.
void sort_by_class(const std::vector<int32_t>& class_of, size_t classes, std::vector<int32_t>& begins,
                   std::vector<int32_t>& members) {
  for (size_t wanted = 0; wanted < classes; ++wanted) {
    begins.push_back(static_cast<int32_t>(members.size()));
    for (size_t i = 0; i < class_of.size(); ++i) {
      if (class_of[i] == static_cast<int32_t>(wanted)) members.push_back(static_cast<int32_t>(i));
    }
  }
  begins.push_back(static_cast<int32_t>(members.size()));
}

}  // namespace

std::vector<int32_t> tap_norm_tables(const TapNormPlan& plan) {
  std::vector<int32_t> tables, column_begins, rows, columns;
  sort_by_class(plan.row_class, plan.row_class_taps.size(), tables, rows);
  sort_by_class(plan.column_class, plan.column_class_taps.size(), column_begins, columns);
  for (const auto* part : {&column_begins, &rows, &columns}) tables.insert(tables.end(), part->begin(), part->end());
  return tables;
}

size_t tap_norm_bytes(const TapNormPlan& plan) {
  return static_cast<size_t>(plan.pairs() * plan.input.channels) * sizeof(double);
}

void reduce_tap_norms(const TapNormPlan& plan, const double* host_accumulators, double* norm_sq) {
  ELEK_CHECK(host_accumulators != nullptr && norm_sq != nullptr, "reduce_tap_norms: an array is missing");
  const int64_t channels = plan.input.channels;
  add_pairs(
      plan, [&](int64_t pair, int64_t c) { return host_accumulators[pair * channels + c]; }, norm_sq);
}

}  // namespace elek::kernels::cuda
