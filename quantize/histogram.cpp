// SPDX-License-Identifier: Apache-2.0
// Tests: tests/quantize/histogram_test.cpp
#include "quantize/histogram.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"

namespace elek {

/// Doubles the width until the magnitude has a bin.
void Histogram::widen(double magnitude) {
  if (width_ == 0) width_ = std::exp2(std::ceil(std::log2(magnitude))) / kBins;  // a power of two: merged widths match
  while (magnitude >= width_ * kBins) {
    for (size_t i = 0; i < kBins / 2; ++i) bins_[i] = bins_[2 * i] + bins_[2 * i + 1];
    std::fill(bins_.begin() + kBins / 2, bins_.end(), 0);
    width_ *= 2;
  }
}

void Histogram::add(std::span<const float> values) {
  float largest = largest_;
  int64_t nonfinite = 0;
  for (const float v : values) {
    const float magnitude = std::fabs(v);
    if (!std::isfinite(magnitude)) {
      ++nonfinite;
    } else if (magnitude > largest) {
      largest = magnitude;
    }
  }
  count_ += std::ssize(values);
  nonfinite_ += nonfinite;
  if (largest > largest_) {
    largest_ = largest;
    widen(largest);
  }
  if (width_ == 0) return;
  const double bins_per_unit = 1 / width_;
  for (const float v : values) {
    const float magnitude = std::fabs(v);
    if (magnitude > 0 && magnitude <= largest_) ++bins_[static_cast<size_t>(double{magnitude} * bins_per_unit)];
  }
}

void Histogram::merge(const Histogram& other) {
  count_ += other.count_;
  nonfinite_ += other.nonfinite_;
  largest_ = std::max(largest_, other.largest_);
  if (other.width_ == 0) return;
  if (width_ == 0) {
    width_ = other.width_;
    bins_ = other.bins_;
    return;
  }
  Histogram wider = other;
  while (wider.width_ < width_) wider.widen(wider.width_ * kBins);
  while (width_ < wider.width_) widen(width_ * kBins);
  for (size_t i = 0; i < kBins; ++i) bins_[i] += wider.bins_[i];
}

double Histogram::squared_error(double step, int steps) const {
  const double edge = step * steps, inside = step * step / 12;
  double total = 0;
  for (size_t i = 0; i < kBins; ++i) {
    if (bins_[i] == 0) continue;
    const double middle = (static_cast<double>(i) + 0.5) * width_, beyond = std::max(middle - edge, 0.0);
    total += static_cast<double>(bins_[i]) * (beyond > 0 ? beyond * beyond : inside);
  }
  return count_ > 0 ? total / static_cast<double>(count_) : 0;
}

float Histogram::best_step(int steps) const {
  if (width_ == 0) return 1;
  double best = 0, least = 0;
  for (int share = 100; share >= 10; --share) {
    const double step = double{largest_} * share / (100.0 * steps), error = squared_error(step, steps);
    if (best == 0 || error < least) best = step, least = error;
  }
  return static_cast<float>(best);
}

}  // namespace elek
