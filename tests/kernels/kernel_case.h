// SPDX-License-Identifier: Apache-2.0
// Shared by the kernel tests: the table of shapes, activations in every layout made from NCHW values, and loops over thread
// counts and over the Highway targets of this machine.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/types.h"
#include "kernels/cpu/detail/targets.h"
#include "tests/support/compare.h"
#include "tests/support/guarded.h"
// after targets.h
#include <hwy/highway.h>

namespace elek::test {

inline constexpr double kU = 0x1p-24;  // rounding unit of f32

struct Activation {
  int64_t samples;
  ImageShape shape;
  Layout layout;
  int64_t pitch;
  Guarded<float> memory;

  /// Poisoned: the kernel must write every element, padding included.
  Activation(int64_t n, const ImageShape& s, Layout l, int64_t extra_pitch = 3)
      : samples(n),
        shape(s),
        layout(l),
        pitch(l == Layout::kNhwc ? s.channels + extra_pitch : padded_channels(l, s.channels)),
        memory(static_cast<size_t>(n * pitch * s.positions())) {}
  Activation(int64_t n, const ImageShape& s, Layout l, const std::vector<float>& nchw) : Activation(n, s, l) {
    for (float& each : memory.span()) each = 0.0F;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < s.channels; ++c) {
        for (int64_t p = 0; p < s.positions(); ++p)
          at(i, c, p) = nchw[static_cast<size_t>((i * s.channels + c) * s.positions() + p)];
      }
    }
  }
  float& at(int64_t n, int64_t c, int64_t p) {
    const int64_t b = channel_block(layout), positions = shape.positions();
    const int64_t offset =
        layout == Layout::kNhwc ? (n * positions + p) * pitch + c : ((n * (pitch / b) + c / b) * positions + p) * b + c % b;
    return memory[static_cast<size_t>(offset)];
  }
  [[nodiscard]] ActivationView<float> view() { return {memory.data(), samples, shape, layout, pitch}; }
  [[nodiscard]] std::vector<float> nchw() {
    std::vector<float> out;
    for (int64_t n = 0; n < samples; ++n) {
      for (int64_t c = 0; c < shape.channels; ++c) {
        for (int64_t p = 0; p < shape.positions(); ++p) out.push_back(at(n, c, p));
      }
    }
    return out;
  }
  /// Number of padding lanes that are not zero.
  [[nodiscard]] int64_t dirty_padding() {
    int64_t dirty = 0;
    for (int64_t n = 0; n < samples; ++n) {
      for (int64_t c = shape.channels; c < pitch; ++c) {
        for (int64_t p = 0; p < shape.positions(); ++p) dirty += at(n, c, p) == 0.0F ? 0 : 1;
      }
    }
    return dirty;
  }
};

inline std::string to_text(int64_t samples, const ImageShape& shape, Layout layout) {
  return std::to_string(samples) + " x " + to_string(shape) + " " + std::string(name_of(layout));
}

/// Calls f(samples, shape, layout) for the shape table: odd channel counts and map sizes, one and three samples, all layouts.
template <typename F>
void for_each_case(const F& f) {
  for (const int64_t c : {1, 7, 16, 37, 64, 127, 128, 129, 512}) {
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}, {14, 14}, {5, 9}, {56, 56}}) {
      if (h == 56 && c > 37) continue;
      for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
        for (const int64_t samples : {1, 3}) f(samples, ImageShape{c, h, w}, layout);
      }
    }
  }
}

/// Calls f() once with each Highway target that is compiled in and runs here, scalar included.
template <typename F>
void for_each_target(const F& f) {
  const int64_t usable = hwy::SupportedTargets() & int64_t{HWY_TARGETS};
  ASSERT_NE(usable, 0);
  for (int64_t left = usable; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(std::string("target ") + hwy::TargetName(target));
    f();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

inline std::vector<float> small_integers(size_t count, uint64_t seed, int64_t most = 3) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& v : values)
    v = static_cast<float>(static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
  return values;
}

/// Normal values. Channel c of `channels` has mean 0.1 * c, so that swapped channels are found.
inline std::vector<float> random_values(size_t count, uint64_t seed, int64_t channels = 1, int64_t positions = 1) {
  Random random(seed);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const auto c = static_cast<int64_t>(i) / positions % channels;
    values[i] = static_cast<float>(random.normal() + 0.1 * static_cast<double>(c % 17));
  }
  return values;
}

}  // namespace elek::test
