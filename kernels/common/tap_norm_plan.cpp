// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/tap_norms_test.cpp, tests/gpu/kernels/tap_norms_test.cpp
#include "kernels/common/tap_norm_plan.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace elek::kernels {
namespace {

/// A window along one axis.
struct Axis {
  int64_t extent = 0;  // of the image
  int64_t out = 0;     // positions of the window
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t before = 0;  // padding
  int64_t dilation = 1;
};

/// The class of each coordinate: coordinates that meet the same taps are in one class. -1 = met by no tap.
std::vector<int32_t> classify(const Axis& a, std::vector<uint64_t>& taps_of_class) {
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < a.extent; ++i) {
    uint64_t taps = 0;
    for (int64_t r = 0; r < a.kernel; ++r) {
      const int64_t from = i + a.before - r * a.dilation;
      if (from >= 0 && from % a.stride == 0 && from / a.stride < a.out) taps |= uint64_t{1} << r;
    }
    if (taps == 0) {
      classes.push_back(-1);
      continue;
    }
    const auto found = std::find(taps_of_class.begin(), taps_of_class.end(), taps);
    classes.push_back(static_cast<int32_t>(found - taps_of_class.begin()));
    if (found == taps_of_class.end()) taps_of_class.push_back(taps);
  }
  return classes;
}

/// Columns of one class as arithmetic progressions: few long ones inside, single ones at the borders.
void add_segments(const std::vector<int32_t>& classes, int32_t wanted, std::vector<TapNormPlan::Segment>& segments) {
  TapNormPlan::Segment run{wanted, 0, 1, 0};
  for (int32_t w = 0; w < static_cast<int32_t>(classes.size()); ++w) {
    if (classes[static_cast<size_t>(w)] != wanted) continue;
    const int32_t last = run.begin + (run.count - 1) * run.step;
    if (run.count == 1) run.step = w - last;
    if (run.count > 0 && w - last == run.step) {
      ++run.count;
      continue;
    }
    if (run.count > 0) segments.push_back(run);
    run = {wanted, w, 1, 1};
  }
  if (run.count > 0) segments.push_back(run);
}

}  // namespace

bool TapNormPlan::meets(int64_t pair, int64_t tap) const noexcept {
  const auto columns = static_cast<int64_t>(column_class_taps.size());
  return (row_class_taps[static_cast<size_t>(pair / columns)] >> (tap / kernel.width) & 1) != 0 &&
         (column_class_taps[static_cast<size_t>(pair % columns)] >> (tap % kernel.width) & 1) != 0;
}

TapNormPlan make_tap_norm_plan(const ImageShape& input, const Window& window) {
  const Padding& padding = window.padding;
  const ImageShape out = is_possible(window) ? window.slide(input) : ImageShape{};  // a stride of 0 cannot slide
  ELEK_CHECK(
      is_possible(window) && std::max(window.kernel.height, window.kernel.width) <= 16 &&
          std::max(padding.top, padding.bottom) < window.reach().height &&
          std::max(padding.left, padding.right) < window.reach().width && input.channels >= 1 &&
          std::min(input.height, input.width) >= 1 && std::max(input.height, input.width) <= INT32_MAX &&
          std::min(out.height, out.width) >= 1,
      "tap norms: " + to_string(window) + " on " + to_string(input) +
          ", expected kernel 1 … 16, stride >= 1, padding from 0 to less than the kernel reaches, and at least one output "
          "position");
  TapNormPlan plan;
  plan.input = input;
  plan.kernel = window.kernel;
  plan.row_class =
      classify({input.height, out.height, window.kernel.height, window.stride.height, padding.top, window.dilation.height},
               plan.row_class_taps);
  plan.column_class =
      classify({input.width, out.width, window.kernel.width, window.stride.width, padding.left, window.dilation.width},
               plan.column_class_taps);
  for (size_t k = 0; k < plan.column_class_taps.size(); ++k) {
    add_segments(plan.column_class, static_cast<int32_t>(k), plan.segments);
  }
  std::sort(plan.segments.begin(), plan.segments.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return plan;
}

}  // namespace elek::kernels
