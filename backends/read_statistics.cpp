// SPDX-License-Identifier: Apache-2.0
// Tests: tests/backends/read_statistics_test.cpp, tests/golden/statistics_test.cpp
#include "backends/read_statistics.h"

#include <numeric>
#include <vector>

#include "core/sums.h"

namespace elek::backends {

void read_value_sums(const Watched& watched, const ImageShape& shape, int64_t samples,
                     std::span<const kernels::SumArrays> parts, Statistics& statistics) {
  ValueSums& v = statistics.values[watched.name];
  v = {};
  v.channels = shape.channels;
  v.samples = samples;
  v.count = samples * shape.positions();
  const auto channels = static_cast<size_t>(shape.channels);
  std::vector<int64_t> nonfinite(channels);
  kernels::SumArrays to;
  to.nonfinite = nonfinite.data();
  for_each_sum(
      [&](const SumRow& row, auto& vector, auto*& array) {
        if ((watched.sums & row.set) == 0) return;
        vector.resize(channels);
        array = vector.data();
      },
      v, to);
  kernels::reset_sums(to, shape.channels);
  for (const kernels::SumArrays& part : parts) kernels::combine_sums(to, part, shape.channels);
  v.nonfinite = std::accumulate(nonfinite.begin(), nonfinite.end(), int64_t{0});
}

double* add_tap_norms(const std::string& name, const kernels::TapNormPlan& plan, int64_t samples, Statistics& statistics) {
  TapNorms& norms = statistics.tap_norms[name];
  norms.channels = plan.input.channels;
  norms.kernel = plan.kernel;
  norms.samples = samples;
  norms.norm_sq.assign(static_cast<size_t>(norms.channels * norms.kernel.area()), 0.0);
  return norms.norm_sq.data();
}

}  // namespace elek::backends
