// SPDX-License-Identifier: Apache-2.0
// Is one accuracy better than another, or is it noise? Both are means over the same images, so that the difference is judged
// image by image: what both networks get right, or wrong, cancels. For two networks this is McNemar's test in the form of a
// mean and its standard error. Tests: tests/cli/sweep_test.cpp
#pragma once

#include <span>
#include <vector>

namespace elek::cli {

/// A figure and how far off it may be: one standard error.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  /// Beyond two standard errors from zero: 5 % of the differences that are nothing but noise are.
  [[nodiscard]] bool is_significant() const noexcept;
};

/// An accuracy: of each image the share of draws (of one network: 0 or 1) that got it right, and the draws' own accuracies.
struct Judged {
  std::vector<float> right;   // [images]
  std::vector<double> draws;  // one a draw of a random criterion; empty for one network
};

/// Mean and standard error sqrt(variance / n) of the mean, variance with n - 1.
[[nodiscard]] Estimate mean_of(std::span<const double> values);
/// Standard deviation between the draws; 0 for fewer than two.
[[nodiscard]] double spread_of(std::span<const double> draws);
/// a - b. The error of the images is paired; that of having drawn a few times only (spread^2 / draws, either side) is added to
/// it in squares. ContractError unless both are of equally many images.
[[nodiscard]] Estimate difference(const Judged& a, const Judged& b);

}  // namespace elek::cli
