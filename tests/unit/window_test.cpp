// SPDX-License-Identifier: Apache-2.0
// Windows: their positions compared with counting them one by one, and how they are written.
#include "elek/window.h"

#include <gtest/gtest.h>

namespace elek {
namespace {

/// Positions along one axis, counted: the window's first tap moves on while the window fits, or, rounded up, while it begins
/// before the padding at the end.
int64_t counted(int64_t size, int64_t before, int64_t after, int64_t reach, int64_t stride, Rounding rounding) {
  int64_t count = 0;
  for (int64_t first = -before;; first += stride) {
    const bool fits = first + reach <= size + after;
    // The window of the last whole stride fits; one more may begin inside the image, if pixels are left over for it.
    const bool left_over = first - stride + reach < size + after && first < size;
    if (!fits && !(rounding == Rounding::kUp && count > 0 && left_over)) return count;
    ++count;
    if (!fits) return count;
  }
}

TEST(Window, PositionsAreThoseThatOneCounts) {
  int64_t cases = 0;
  for (const int64_t size : {1, 2, 5, 7, 8, 13})
    for (const int64_t kernel : {1, 2, 3, 4})
      for (const int64_t stride : {1, 2, 3, 5})
        for (const int64_t before : {0, 1, 2})
          for (const int64_t after : {0, 1, 3})
            for (const int64_t dilation : {1, 2, 3})
              for (const Rounding rounding : {Rounding::kDown, Rounding::kUp}) {
                const int64_t reach = (kernel - 1) * dilation + 1;
                const int64_t want = counted(size, before, after, reach, stride, rounding);
                const Window down{{kernel, 1}, {stride, 1}, {before, 0, after, 0}, {dilation, 1}};
                const Window across{{1, kernel}, {1, stride}, {0, before, 0, after}, {1, dilation}};
                EXPECT_EQ(down.slide({4, size, 9}, rounding), (ImageShape{4, want, 9})) << to_string(down);
                EXPECT_EQ(across.slide({4, 9, size}, rounding), (ImageShape{4, 9, want})) << to_string(across);
                ++cases;
              }
  EXPECT_GT(cases, 5000);
}

/// PyTorch 2: MaxPool2d(3, 2, padding=1, ceil_mode=True) makes 4 of 6 and 4 of 7, (2, 2, ceil_mode=True) 4 of 7; a window that
/// would begin in the padding at the end is dropped: (1, 2, ceil_mode=True) makes 2 of 4.
TEST(Window, RoundedUpAsPyTorchDoes) {
  const auto up = [](const Window& window, int64_t size) { return window.slide({1, size, size}, Rounding::kUp).height; };
  EXPECT_EQ(up({3, 2, 1, 1}, 6), 4);
  EXPECT_EQ(up({3, 2, 1, 1}, 7), 4);
  EXPECT_EQ(up({2, 2, 0, 1}, 7), 4);
  EXPECT_EQ(up({1, 2, 0, 1}, 4), 2);
  EXPECT_EQ(up({3, 2, 0, 1}, 112), 56);
  EXPECT_EQ(up({9, 2, 0, 1}, 7), 0) << "does not fit";
}

TEST(Window, IsWrittenShortWhereItIsSquare) {
  EXPECT_EQ(to_string(Window{3, 2, 1, 1}), "kernel 3 stride 2 padding 1");
  EXPECT_EQ(to_string(Window{{1, 7}, {2, 1}, {0, 3, 1, 2}, {1, 2}}), "kernel 1x7 stride 2x1 padding 0,3,1,2 dilation 1x2");
  EXPECT_TRUE(is_possible({3, 2, 1, 1}));
  for (const Window& wrong :
       {Window{{3, 0}, 1, 0, 1}, Window{3, {1, 0}, 0, 1}, Window{3, 1, {0, 0, 0, -1}, 1}, Window{3, 1, 0, 0}})
    EXPECT_FALSE(is_possible(wrong)) << to_string(wrong);
}

}  // namespace
}  // namespace elek
