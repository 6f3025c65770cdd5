// SPDX-License-Identifier: Apache-2.0
// A histogram of magnitudes whose range need not be known beforehand: it starts with the first values' range and doubles, two
// bins joined into one, whenever a larger value comes. Constant memory for any number of values; two histograms of parts of the
// data can be merged. From it: the step of the grid with the least squared error.
// Tests: tests/quantize/histogram_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace elek {

class Histogram {
 public:
  static constexpr int kBins = 2048;

  /// Adds |v| of each value; zeros count apart, because every grid has zero. NaN and infinities are counted only.
  void add(std::span<const float> values);
  void merge(const Histogram& other);

  [[nodiscard]] int64_t count() const noexcept { return count_; }
  [[nodiscard]] int64_t nonfinite() const noexcept { return nonfinite_; }
  /// The largest magnitude seen.
  [[nodiscard]] float largest() const noexcept { return largest_; }
  [[nodiscard]] int64_t bin(int i) const { return bins_.at(static_cast<size_t>(i)); }
  /// A bin holds magnitudes [i * width, (i + 1) * width).
  [[nodiscard]] double width() const noexcept { return width_; }

  /// Squared error per value of a grid whose largest value is `steps` * `step`: step^2 / 12 inside, the distance to the largest
  /// value beyond. Values of a bin count as its middle.
  [[nodiscard]] double squared_error(double step, int steps) const;
  /// The step with the least squared error, among those that clip at 0.1, 0.11, … 1 of the largest magnitude; 1 if no value but
  /// zero was seen.
  [[nodiscard]] float best_step(int steps) const;

 private:
  void widen(double magnitude);
  std::array<int64_t, kBins> bins_{};
  double width_ = 0;  // 0: no value but zero yet
  float largest_ = 0;
  int64_t count_ = 0;
  int64_t nonfinite_ = 0;
};

}  // namespace elek
