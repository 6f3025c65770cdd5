// SPDX-License-Identifier: Apache-2.0
// Streamed moments compared with im2col columns built one by one and sums in double, and the solve compared with Gaussian
// elimination. Inputs are small integers, so the products of a chunk are exact in f32 (below 2^24) and A and B must be right to
// the bit. The solution shows it: with exact moments only the solvers differ.
#include "prune/moments.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "prune/least_squares.h"
#include "tests/prune/double_fit.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

std::vector<float> integers(int64_t count, uint64_t seed, int64_t span = 7) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(static_cast<int64_t>(random.below(static_cast<uint64_t>(span))) - span / 2);
  return values;
}

/// One position's column: the inputs that the output's window meets, zero outside the image, then 1.
std::vector<double> column(const FitShape& s, const std::vector<float>& x, int64_t n, int64_t group, int64_t p, int64_t q) {
  std::vector<double> u;
  const int64_t width = s.input.channels / s.groups;
  for (int64_t c = group * width; c < (group + 1) * width; ++c) {
    for (int64_t r = 0; r < s.kernel.height; ++r) {
      for (int64_t t = 0; t < s.kernel.width; ++t) {
        const int64_t h = p * s.stride.height + r * s.dilation.height - s.padding.top;
        const int64_t w = q * s.stride.width + t * s.dilation.width - s.padding.left;
        const bool inside = h >= 0 && w >= 0 && h < s.input.height && w < s.input.width;
        const int64_t i = ((n * s.input.channels + c) * s.input.height + h) * s.input.width + w;
        u.push_back(inside ? static_cast<double>(x[static_cast<size_t>(i)]) : 0.0);
      }
    }
  }
  if (s.bias) u.push_back(1);
  return u;
}

/// The definition, output by output, on the columns whose old weight is not zero.
std::vector<double> fit(const FitShape& s, const std::vector<float>& x, const std::vector<float>& z, int64_t samples,
                        int64_t output, const std::vector<float>& old) {
  const auto columns = static_cast<size_t>(s.columns()), n = static_cast<size_t>(s.unknowns());
  Matrix a(n, std::vector<double>(n, 0.0));
  std::vector<double> b(n, 0.0);
  const int64_t height = s.output_height(), width = s.output_width();
  for (int64_t i = 0; i < samples; ++i) {
    for (int64_t p = 0; p < height; ++p) {
      for (int64_t q = 0; q < width; ++q) {
        const std::vector<double> u = column(s, x, i, output / (s.outputs / s.groups), p, q);
        const int64_t target = s.targets[static_cast<size_t>(output)];
        const auto value =
            static_cast<double>(z[static_cast<size_t>(((i * s.target_channels + target) * height + p) * width + q)]);
        for (size_t r = 0; r < n; ++r) {
          for (size_t c = 0; c < n; ++c) a[r][c] += u[r] * u[c];
          b[r] += u[r] * value;
        }
      }
    }
  }
  double mean = 0;
  for (size_t c = 0; c < columns; ++c) mean += a[c][c] / static_cast<double>(columns);
  std::vector<size_t> kept;
  for (size_t c = 0; c < n; ++c) {
    if (c < columns) a[c][c] += kRidge * mean;
    if (c == columns || old[static_cast<size_t>(output) * columns + c] != 0.0F) kept.push_back(c);
  }
  return solve_on(kept, a, b);
}

struct Case {
  FitShape shape;
  int64_t samples;
  bool sparse;
};

FitShape shape_of(ImageShape input, int64_t outputs, Extent kernel, Extent stride, Padding padding, int64_t groups, bool bias,
                  Extent dilation = 1) {
  FitShape s;
  s.name = "layer";
  s.input = input;
  s.outputs = outputs;
  s.kernel = kernel;
  s.stride = stride;
  s.padding = padding;
  s.dilation = dilation;
  s.groups = groups;
  s.bias = bias;
  s.target_channels = 2 * outputs;
  for (int64_t k = 0; k < outputs; ++k) s.targets.push_back(2 * k + k % 2);
  return s;
}

class Moments : public testing::TestWithParam<Case> {};

TEST_P(Moments, GiveTheLeastSquaresFit) {
  const auto& [s, samples, sparse] = GetParam();
  const std::vector<float> x = integers(samples * s.input.elements(), 1);
  const std::vector<float> z = integers(samples * s.target_channels * s.output_height() * s.output_width(), 2);
  std::vector<float> old(static_cast<size_t>(s.outputs * s.columns()), 1.0F);
  if (sparse) {
    for (size_t i = 0; i < old.size(); i += 3) old[i] = 0.0F;
  }
  for (const int threads : {1, 3}) {
    Tracker memory(host_resource());
    FitMoments moments(s, sparse, threads, memory);
    EXPECT_EQ(memory.figures().live_bytes, FitMoments::bytes(s, sparse, threads));
    const int64_t half = samples / 2;  // streamed: two calls of unlike size
    const auto cut_x = static_cast<size_t>(half * s.input.elements());
    const auto cut_z = z.size() / static_cast<size_t>(samples) * static_cast<size_t>(half);
    moments.add(std::span(x).first(cut_x), std::span(z).first(cut_z), half);
    moments.add(std::span(x).subspan(cut_x), std::span(z).subspan(cut_z), samples - half);
    std::vector<float> weights = old, bias(static_cast<size_t>(s.outputs), -7.0F);
    moments.solve(weights, bias);
    EXPECT_EQ(memory.figures().peak_bytes, FitMoments::bytes(s, sparse, threads));
    for (int64_t k = 0; k < s.outputs; k += 1 + s.outputs / 8) {
      const std::vector<double> want = fit(s, x, z, samples, k, old);
      for (int64_t i = 0; i < s.unknowns(); ++i) {
        const float got = i == s.columns() ? bias[static_cast<size_t>(k)] : weights[static_cast<size_t>(k * s.columns() + i)];
        // Solvers in double on a system of condition below n / kRidge = 1e5: 1e-16 * 1e5 * n, far below the rounding to f32.
        const double value = want[static_cast<size_t>(i)];
        EXPECT_TRUE(std::fabs(static_cast<double>(got) - value) <= 1.2e-7 * std::fabs(value) + 1e-8)
            << "output " << k << " unknown " << i << " got " << got << " want " << value << " threads " << threads;
      }
    }
    if (!s.bias) {
      EXPECT_EQ(bias[0], -7.0F);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Moments,
                         testing::Values(Case{shape_of({3, 7, 5}, 4, 3, 1, 1, 1, true), 5, false},
                                         Case{shape_of({4, 9, 8}, 3, 3, 2, 1, 1, true), 7, false},
                                         Case{shape_of({6, 6, 6}, 4, 3, 1, 0, 2, true), 6, false},
                                         Case{shape_of({5, 6, 6}, 5, 3, 1, 1, 5, true), 4, true},  // depthwise
                                         Case{shape_of({9, 5, 5}, 2, 1, 2, 0, 1, false), 9, false},
                                         Case{shape_of({17, 1, 1}, 6, 1, 1, 0, 1, true), 60, true},   // linear
                                         Case{shape_of({2, 70, 80}, 3, 3, 1, 1, 1, true), 3, false},  // several chunks a sample
                                         Case{shape_of({15, 8, 8}, 150, 3, 1, 1, 1, true), 4, true}));  // several tiles

std::string what_solve_says(const FitShape& s, const std::vector<float>& x, const std::vector<float>& z, int64_t samples) {
  FitMoments moments(s, false, 1, host_resource());
  if (samples > 0) moments.add(x, z, samples);
  std::vector<float> weights(static_cast<size_t>(s.outputs * s.columns()), 1.0F), bias(static_cast<size_t>(s.outputs));
  try {
    moments.solve(weights, bias);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(MomentsRefuse, NanInfinityAndNothingByTheLayersName) {
  const FitShape s = shape_of({2, 3, 3}, 2, 3, 1, 1, 1, true);
  const std::vector<float> x = integers(4 * s.input.elements(), 1), z = integers(4 * 4 * 9, 2);
  EXPECT_EQ(what_solve_says(s, x, z, 4), "");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> broken = x;
    broken.back() = bad;
    EXPECT_THAT(what_solve_says(s, broken, z, 4), testing::AllOf(HasSubstr("'layer'"), HasSubstr("inputs have NaN")));
    broken = z;
    broken[0] = bad;
    EXPECT_THAT(what_solve_says(s, x, broken, 4), testing::AllOf(HasSubstr("'layer'"), HasSubstr("outputs in the dense")));
  }
  EXPECT_THAT(what_solve_says(s, {}, {}, 0), HasSubstr("no sample"));
}

TEST(MomentsRefuse, AnUnsolvableSystemWithoutRidge) {
  const FitShape s = shape_of({2, 1, 1}, 1, 1, 1, 0, 1, false);
  FitMoments moments(s, false, 1, host_resource());
  moments.add(std::vector<float>{1, 0, 2, 0}, std::vector<float>{1, 1, 2, 2}, 2);  // channel 1 is dead
  std::vector<float> weights{1, 1};
  EXPECT_THROW(moments.solve(weights, {}, 0.0), InputError);
}

TEST(MomentsSolve, RankDeficientColumnsAreSolvedByTheRidge) {
  const FitShape s = shape_of({3, 1, 1}, 1, 1, 1, 0, 1, false);  // channels 0 and 1 are one, channel 2 is dead
  FitMoments moments(s, false, 1, host_resource());
  moments.add(std::vector<float>{1, 1, 0, 2, 2, 0}, std::vector<float>{4, 0, 8, 0}, 2);
  std::vector<float> weights{1, 1, 1};
  moments.solve(weights, {});
  // (5 w0 + 5 w1) + l w = 20, l = 1e-3 * 10 / 3: both weights 20 / (10 + l); the dead one 0.
  EXPECT_NEAR(weights[0], 20 / (10 + 1e-2 / 3), 1e-6);
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(weights[2], 0.0F);
}

TEST(MomentsSolve, ZerosThroughoutLeaveTheBiasAlone) {
  const FitShape s = shape_of({2, 1, 1}, 1, 1, 1, 0, 1, true);
  FitMoments moments(s, false, 1, host_resource());
  moments.add(std::vector<float>{0, 0, 0, 0}, std::vector<float>{3, 0, 5, 0}, 2);
  std::vector<float> weights{1, 1}, bias{9};
  const int64_t before = warnings_so_far();
  moments.solve(weights, bias);
  EXPECT_EQ(warnings_so_far(), before + 1);
  EXPECT_EQ(weights[0], 0.0F);
  EXPECT_EQ(bias[0], 4.0F);
}

TEST(MomentsMemory, ARefusalLeavesNothingBehind) {
  const FitShape s = shape_of({4, 4, 4}, 4, 3, 1, 1, 1, true);
  Tracker memory(host_resource());
  Limit limit(memory, FitMoments::bytes(s, true, 2) - 1);
  EXPECT_THROW(FitMoments(s, true, 2, limit), OutOfMemory);
  EXPECT_EQ(memory.figures().live_bytes, 0u);
}

}  // namespace
}  // namespace elek::test
