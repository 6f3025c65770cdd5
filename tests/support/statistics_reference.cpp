// SPDX-License-Identifier: Apache-2.0
// The references of elek/statistics.h: plain double sums over stored values, one channel after the other, and column norms of a
// real im2col matrix. Tests: tests/self/reference_test.cpp
#include <cmath>
#include <limits>

#include "core/error.h"
#include "tests/support/reference.h"

namespace elek::test {
namespace {

/// The larger one; NaN if one of them is.
double larger(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? std::numeric_limits<double>::quiet_NaN() : std::fmax(a, b);
}

}  // namespace

ChannelSums channel_sums(std::span<const float> values, int64_t samples, const ImageShape& shape, float threshold) {
  ELEK_CHECK(static_cast<int64_t>(values.size()) == samples * shape.elements(), "channel sums: values of another size");
  constexpr double kLowest = -std::numeric_limits<double>::infinity();
  const auto channels = static_cast<size_t>(shape.channels);
  const auto positions = static_cast<size_t>(shape.positions());
  ChannelSums sums;
  sums.count = samples * shape.positions();
  sums.sum = sums.sum_sq = sums.abs_sum = sums.mean_sum = sums.mean_sum_sq = std::vector<double>(channels, 0.0);
  sums.max = sums.mean_peak = std::vector<double>(channels, kLowest);
  sums.active = sums.fired = std::vector<int64_t>(channels, 0);
  for (size_t c = 0; c < channels; ++c) {
    for (size_t n = 0; n < static_cast<size_t>(samples); ++n) {
      double sample_sum = 0;
      bool fired = false;
      for (size_t i = 0; i < positions; ++i) {
        const float stored = values[(n * channels + c) * positions + i];
        const double y = stored;
        sums.nonfinite += std::isfinite(y) ? 0 : 1;
        sums.sum[c] += y;
        sums.sum_sq[c] += y * y;
        sums.abs_sum[c] += std::fabs(y);
        sums.max[c] = larger(sums.max[c], y);
        sums.active[c] += stored > threshold ? 1 : 0;
        fired = fired || stored > threshold;
        sample_sum += y;
      }
      const double mean = sample_sum / static_cast<double>(positions);
      sums.fired[c] += fired ? 1 : 0;
      sums.mean_peak[c] = larger(sums.mean_peak[c], mean);
      sums.mean_sum[c] += mean;
      sums.mean_sum_sq[c] += mean * mean;
    }
  }
  return sums;
}

std::vector<double> tap_norms(std::span<const float> input, int64_t samples, const ImageShape& shape, const Window& window) {
  ELEK_CHECK(static_cast<int64_t>(input.size()) == samples * shape.elements(), "tap norms: values of another size");
  const auto& [kernel, stride, pad, dilation] = window;
  const auto positions = [](int64_t size, int64_t pads, int64_t taps, int64_t apart, int64_t step) {
    return (size + pads - ((taps - 1) * apart + 1)) / step + 1;
  };
  const int64_t rows = positions(shape.height, pad.top + pad.bottom, kernel.height, dilation.height, stride.height);
  const int64_t cols = positions(shape.width, pad.left + pad.right, kernel.width, dilation.width, stride.width);
  const auto taps = static_cast<size_t>(shape.channels * kernel.height * kernel.width);
  // The matrix of a convolution by im2col: one row per output position, one column per tap, zeros for the padding.
  std::vector<std::vector<float>> matrix;
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t p = 0; p < rows; ++p) {
      for (int64_t q = 0; q < cols; ++q) {
        std::vector<float> line;
        for (int64_t c = 0; c < shape.channels; ++c) {
          for (int64_t r = 0; r < kernel.height; ++r) {
            for (int64_t s = 0; s < kernel.width; ++s) {
              const int64_t h = p * stride.height - pad.top + r * dilation.height;
              const int64_t w = q * stride.width - pad.left + s * dilation.width;
              const bool inside = h >= 0 && h < shape.height && w >= 0 && w < shape.width;
              line.push_back(
                  inside ? input[static_cast<size_t>(((n * shape.channels + c) * shape.height + h) * shape.width + w)] : 0.0F);
            }
          }
        }
        matrix.push_back(std::move(line));
      }
    }
  }
  std::vector<double> norms(taps, 0.0);
  for (const std::vector<float>& line : matrix) {
    for (size_t tap = 0; tap < taps; ++tap) {
      norms[tap] += double{line[tap]} * double{line[tap]};
    }
  }
  return norms;
}

}  // namespace elek::test
