// SPDX-License-Identifier: Apache-2.0
// Is one accuracy better than another, or is the difference noise? Both are means over the same images, so the difference is
// judged image by image: images that both networks get right, or wrong, cancel. For two networks this is McNemar's test,
// written as a mean and its standard error. Tests: tests/unit/paired_test.cpp
#pragma once

#include <span>
#include <vector>

namespace elek {

/// A figure and its standard error.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  /// More than two standard errors from zero. This is also true for 5 % of differences that are pure noise.
  [[nodiscard]] bool is_significant() const noexcept;
};

/// An accuracy: for each image the share of draws that got it right (for one network: 0 or 1), and the accuracy of each draw.
struct Judged {
  std::vector<float> right;   // [images]
  std::vector<double> draws;  // one per draw of a random criterion; empty for one network
};

/// Mean and standard error sqrt(variance / n) of the mean, variance with n - 1.
[[nodiscard]] Estimate mean_of(std::span<const double> values);
/// Standard deviation between the draws; 0 for fewer than two.
[[nodiscard]] double spread_of(std::span<const double> draws);
/// a - b. The error from the images is paired. The error from having few draws (spread^2 / draws, on each side) is added to it
/// in squares. ContractError unless both have equally many images.
[[nodiscard]] Estimate paired_difference(const Judged& a, const Judged& b);

}  // namespace elek
