// SPDX-License-Identifier: Apache-2.0
// 95 % intervals of means, by Student's t distribution: for times whose noise is about normal, such as logarithms of medians.
// Tests: tests/unit/mean_interval_test.cpp
#pragma once

#include <span>

namespace elek {

struct MeanInterval {
  double mean = 0;
  double low = 0;
  double high = 0;
};
/// Of the mean of these values. ContractError for fewer than two.
[[nodiscard]] MeanInterval mean_interval(std::span<const double> values);
/// Of mean(a) - mean(b), for samples of different spread (Welch 1947). ContractError if either has fewer than two.
[[nodiscard]] MeanInterval difference_interval(std::span<const double> a, std::span<const double> b);

/// The value below which 97.5 % of Student's t distribution lie; `degrees` of freedom >= 1, not always whole.
[[nodiscard]] double student_t975(double degrees);

}  // namespace elek
