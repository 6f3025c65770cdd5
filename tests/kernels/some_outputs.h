// SPDX-License-Identifier: Apache-2.0
// Compares some outputs of a large convolution with the direct one in double, and checks that all of them were written.
// tests/kernels/resnet_layers_test.cpp uses it, and bench/kernels_bench.cpp before it measures: more would take too long at
// real size.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tests/kernels/conv_problem.h"

namespace elek::kernels::cpu::conv_case {

inline constexpr size_t kCheckedOutputs = 97;  // a prime step visits rows, columns, channels and samples

/// Calls `body` for about `count` places of [0, total), including the last one.
template <class Body>
void some_of(size_t total, size_t count, const Body& body) {
  const size_t step = std::max<size_t>(1, total / count) | 1U;
  for (size_t i = 0; i < total; i += step) body(i);
  body(total - 1);
}

/// Largest ratio of error to bound(DirectValue, sample, channel, row, column), over some outputs; infinity if an output is NaN
/// or was not written (the problem poisons them). At most 1 if the result is right.
template <class Bound>
double worst_of(const Problem& p, const Bound& bound) {
  double worst = 0;
  size_t total = 0;
  p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t) {
    if (std::isnan(p.y.data[index_of(p.y_view(), n, k, row, column)])) worst = HUGE_VAL;
    ++total;
  });
  const auto positions = static_cast<size_t>(p.oh * p.ow), channels = static_cast<size_t>(p.spec.out_channels);
  some_of(total, kCheckedOutputs, [&](size_t i) {
    const auto place = static_cast<int64_t>(i % positions), k = static_cast<int64_t>(i / positions % channels),
               n = static_cast<int64_t>(i / positions / channels), row = place / p.ow, column = place % p.ow;
    const DirectValue want = direct_at(p, n, k, row, column);
    const double error = std::fabs(p.y.data[index_of(p.y_view(), n, k, row, column)] - want.y);
    const double ratio = error / bound(want, n, k, row, column);
    if (!(ratio <= worst)) worst = std::isnan(ratio) ? HUGE_VAL : ratio;
  });
  return worst;
}

}  // namespace elek::kernels::cpu::conv_case
