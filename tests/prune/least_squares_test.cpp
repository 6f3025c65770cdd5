// SPDX-License-Identifier: Apache-2.0
// Products and solves compared with sums in long double, for sizes on both sides of every block edge, each number of threads
// and every instruction set of this machine.
#include "prune/least_squares.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "core/runtime.h"

namespace elek::test {
namespace {

size_t at(int64_t i) { return static_cast<size_t>(i); }

std::vector<double> random_doubles(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<double> values(at(count));
  for (double& v : values) v = 2 * random.uniform() - 1;
  return values;
}

/// M M' / n + I: eigenvalues between 1 and about 2.
std::vector<double> positive_definite(int64_t n, uint64_t seed) {
  const std::vector<double> m = random_doubles(n * n, seed);
  std::vector<double> a(at(n * n));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 1 : 0;
      for (int64_t k = 0; k < n; ++k) sum += m[at(i * n + k)] * m[at(j * n + k)] / static_cast<double>(n);
      a[at(i * n + j)] = sum;
    }
  return a;
}

/// Not-a-number below the diagonal: it must not be read.
void spoil_lower(std::vector<double>& a, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) a[at(i * n + j)] = std::numeric_limits<double>::quiet_NaN();
}

template <typename Check>
void for_each_instruction_set(const Check& check) {
  const int64_t usable = hwy::SupportedTargets() & int64_t{HWY_TARGETS};
  for (int64_t left = usable; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(RunTasks, EveryTaskOnceAndNoTwoOfOneThreadAtTheSameTime) {
  std::vector<std::atomic<int>> runs(1000), busy(3);
  run_tasks(1000, 3, [&](int64_t task, int thread) {
    EXPECT_EQ(busy[at(thread)]++, 0);
    runs[at(task)]++;
    busy[at(thread)]--;
  });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
  run_tasks(0, 3, [](int64_t, int) { FAIL(); });
}

/// Small integers, so that f32 sums are exact.
TEST(Products, EqualTheDefinition) {
  Random random(1);
  for_each_instruction_set([&] {
    for (const auto& [rows, columns, length] : std::vector<std::array<int64_t, 3>>{
             {1, 1, 1}, {5, 7, 33}, {4, 3, 1024}, {130, 129, 50}, {131, 260, 1031}, {3, 1, 2500}}) {
      const auto integers = [&random](int64_t count) {
        std::vector<float> values(at(count));
        for (float& v : values) v = static_cast<float>(static_cast<int64_t>(random.below(7)) - 3);
        return values;
      };
      const std::vector<float> a = integers(rows * length), b = integers(columns * length);
      const int64_t pitch = columns + 3;
      std::vector<double> c(at(rows * pitch), 0.5);
      std::vector<float> scratch(at(3 * kTile * kTile));
      const Products job{a.data(), b.data(), rows, columns, length, c.data(), pitch, false};
      add_products({&job, 1}, 3, scratch.data());
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < pitch; ++j) {
          double want = 0.5;
          for (int64_t l = 0; j < columns && l < length; ++l)
            want += static_cast<double>(a[at(i * length + l)]) * static_cast<double>(b[at(j * length + l)]);
          ASSERT_EQ(c[at(i * pitch + j)], want) << i << ", " << j << " of " << rows << " x " << columns << " x " << length;
        }
    }
  });
}

/// Largest |a x - b| of a solution, in long double.
double residual(const std::vector<double>& a, int64_t n, const double* x, const double* b) {
  long double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    long double sum = -b[i];
    for (int64_t j = 0; j < n; ++j) sum += static_cast<long double>(a[at(i * n + j)]) * x[j];
    largest = std::max(largest, std::abs(sum));
  }
  return static_cast<double>(largest);
}

constexpr int64_t kSizes[] = {1, 2, 5, 6, 7, 95, 96, 97, 191, 192, 193, 290};

/// The backward error of a Cholesky solve is at most about 3 n eps |A| |x| (Higham, Accuracy and Stability, 10.1); |A| <= n
/// here is far above the true norm of about 2.
TEST(Solve, LeavesNoResidual) {
  for_each_instruction_set([&] {
    for (const int64_t n : kSizes) {
      const std::vector<double> a = positive_definite(n, 3);
      for (const int64_t columns : {1, 7, 100}) {
        const std::vector<double> b = random_doubles(n * columns, 4);
        std::vector<double> first;
        for (const int threads : {1, 2, 5}) {
          std::vector<double> work = a, x = b;
          spoil_lower(work, n);
          ASSERT_TRUE(solve_in_place(work.data(), n, x.data(), columns, threads)) << n;
          for (int64_t c = 0; c < columns; ++c)
            ASSERT_LE(residual(a, n, &x[at(c * n)], &b[at(c * n)]), 3e-16 * 6 * static_cast<double>(n)) << n << " unknowns";
          if (threads == 1) first = x;
          ASSERT_EQ(x, first) << "the number of threads changed the solution";
        }
      }
    }
  });
}

TEST(Invert, TimesTheMatrixIsTheIdentity) {
  for_each_instruction_set([&] {
    for (const int64_t n : kSizes) {
      const std::vector<double> a = positive_definite(n, 5);
      std::vector<double> inverse = a;
      spoil_lower(inverse, n);
      ASSERT_TRUE(invert_in_place(inverse.data(), n, 2));
      for (int64_t i = 0; i < n; ++i) {
        std::vector<double> column(at(n)), unit(at(n), 0.0);
        for (int64_t j = 0; j < n; ++j) column[at(j)] = inverse[at(std::min(i, j) * n + std::max(i, j))];
        unit[at(i)] = 1;
        ASSERT_LE(residual(a, n, column.data(), unit.data()), 3e-16 * 6 * static_cast<double>(n)) << n << ", column " << i;
      }
    }
  });
}

TEST(Solve, RefusesWhatIsNotPositiveDefinite) {
  for (const int64_t n : kSizes) {
    for (const double wrong : {-1.0, 0.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      for (const int64_t where : std::set<int64_t>{0, n / 2, n - 1}) {
        std::vector<double> a = positive_definite(n, 6), b(at(n), 1.0);
        a[at(where * n + where)] = wrong;
        EXPECT_FALSE(solve_in_place(a.data(), n, b.data(), 1, 2)) << n << " unknowns, " << wrong << " at " << where;
        EXPECT_EQ(b, std::vector<double>(at(n), 1.0));
        a = positive_definite(n, 6);
        a[at(where * n + where)] = wrong;
        EXPECT_FALSE(invert_in_place(a.data(), n, 2));
      }
    }
  }
}

}  // namespace
}  // namespace elek::test
