// SPDX-License-Identifier: Apache-2.0
// The loops that measure peaks do the work that they report. Their speed is not tested.
#include "kernels/cpu/peaks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/step_times.h"

namespace elek::kernels::cpu {
namespace {

TEST(Peaks, OperationsAreCountedStepByStepAndThreadByThread) {
  const double one = run_multiply_adds(1000, 1);
  EXPECT_GE(one, 2.0 * 12 * 1000);  // one lane at least
  EXPECT_EQ(run_multiply_adds(2000, 1), 2 * one);
  EXPECT_EQ(run_multiply_adds(1000, 3), 3 * one);
}

TEST(Peaks, CopiesEveryByteAndNoOther) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{1000}, size_t{4097}}) {
    for (const int threads : {1, 2, 5}) {
      std::vector<char> from(bytes), to(bytes + 1, 'x');
      for (size_t i = 0; i < bytes; ++i) from[i] = static_cast<char>(i * 31 + 1);
      copy_memory(from.data(), to.data(), bytes, 2, threads);
      EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin())) << bytes << " bytes, " << threads << " threads";
      EXPECT_EQ(to[bytes], 'x');
    }
  }
}

TEST(Peaks, ReadingTakesAnySize) {
  const std::vector<float> values(1000, 1.0F);
  for (const size_t bytes : {size_t{0}, size_t{4}, size_t{100}, size_t{4000}}) {
    for (const int threads : {1, 2, 5}) read_memory(values.data(), bytes, 3, threads);
  }
}

TEST(Peaks, ALineIsHandedOverAsOftenAsSaid) {
  EXPECT_EQ(pass_line(0), 0);
  EXPECT_EQ(pass_line(1), 2);
  EXPECT_EQ(pass_line(1000), 2000);
}

}  // namespace
}  // namespace elek::kernels::cpu
