// SPDX-License-Identifier: Apache-2.0
// The epilogue and the read-only sums compared with double. y is exact on small integers and otherwise within its rounding.
// Every sum is within the bound of kernels/cuda/epilogue.h: 9 * 2^-24 of the sum of absolute terms, computed from y as stored.
// Counts are exact.
#include "kernels/cuda/epilogue.h"

#include <numeric>

#include "tests/gpu/kernels/support.h"
#include "tests/support/activation.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

constexpr uint32_t kEverything = kActivity | kMoments | kAbsolute | kRange | kPerSample;
constexpr double kBound = 9 * kU + kWide;

/// Totals in a guarded block, with a workspace.
struct Totals {
  DeviceBuffer block;
  DeviceBuffer workspace;
  ChannelTotals device;
  std::vector<double> image;
  ChannelTotals host;

  Totals(int64_t samples, const ImageShape& shape, uint32_t sets, float threshold = 0.0F)
      : block(ChannelTotals::bytes(shape.channels, sets)),
        workspace(epilogue_workspace_bytes(samples, shape, sets)),
        device(ChannelTotals::lay_out(block.as<void>(), shape.channels, sets, threshold)),
        image(block.size() / 8),
        host(ChannelTotals::lay_out(image.data(), shape.channels, sets, threshold)) {
    host.reset_host();
    block.upload(image);
  }
  void fetch() { std::ranges::copy(block.download<double>(), image.begin()); }
};

template <typename T>
std::vector<T> taken(const T* array, int64_t channels) {
  return {array, array + channels};
}

/// The expected value of every sum. `z` empty: no moments.
struct Wanted {
  ChannelSums y;
  std::vector<int64_t> nonfinite;
  std::vector<double> z_sum, z_sum_sq, z_abs, abs_of_means;
};

Wanted wanted_sums(const std::vector<double>& z, const std::vector<float>& y, int64_t samples, const ImageShape& shape,
                   float threshold) {
  Wanted w;
  w.y = channel_sums(y, samples, shape, threshold);
  const auto channels = static_cast<size_t>(shape.channels), positions = static_cast<size_t>(shape.positions());
  for (auto* v : {&w.z_sum, &w.z_sum_sq, &w.z_abs}) v->assign(channels, 0);
  w.nonfinite.assign(channels, 0);
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t c = i / positions % channels;
    w.nonfinite[c] += std::isfinite(y[i]) ? 0 : 1;
    if (z.empty()) continue;
    w.z_sum[c] += z[i], w.z_sum_sq[c] += z[i] * z[i], w.z_abs[c] += std::fabs(z[i]);
  }
  return w;
}

void expect_near(const double* got, const std::vector<double>& want, const std::vector<double>& scale, double bound,
                 const char* what) {
  ASSERT_NE(got, nullptr) << what;
  for (size_t c = 0; c < want.size(); ++c) {
    if (!std::isfinite(want[c])) {
      EXPECT_TRUE(std::isnan(want[c]) ? std::isnan(got[c]) : got[c] == want[c])
          << what << "[" << c << "] got " << got[c] << ", want " << want[c];
    } else {
      EXPECT_TRUE(std::fabs(got[c] - want[c]) <= bound * scale[c])
          << what << "[" << c << "] got " << got[c] << ", want " << want[c] << " +- " << bound * scale[c];
    }
  }
}

/// bound 0 = exact. passes: how often the same values were added.
void expect_sums(Totals& got, const Wanted& want, int64_t samples, double bound, uint32_t sets) {
  got.fetch();
  const SumArrays& a = got.host.arrays;
  const int64_t channels = got.host.channels;
  EXPECT_EQ(taken(a.nonfinite, channels), want.nonfinite);
  if ((sets & kActivity) != 0) {
    expect_near(a.sum, want.y.sum, want.y.abs_sum, bound, "sum");
    expect_near(a.sum_sq, want.y.sum_sq, want.y.sum_sq, bound, "sum_sq");
    EXPECT_EQ(taken(a.active, channels), want.y.active);
  }
  if ((sets & kMoments) != 0) {  // z itself is rounded once to f32: 1 and 3 more units
    expect_near(a.z_sum, want.z_sum, want.z_abs, bound == 0 ? 0 : bound + 2 * kU, "z_sum");
    expect_near(a.z_sum_sq, want.z_sum_sq, want.z_sum_sq, bound == 0 ? 0 : bound + 4 * kU, "z_sum_sq");
  }
  if ((sets & kAbsolute) != 0) expect_near(a.abs_sum, want.y.abs_sum, want.y.abs_sum, bound, "abs_sum");
  if ((sets & kRange) != 0) expect_near(a.max, want.y.max, want.y.max, 0, "max");
  if ((sets & kPerSample) != 0) {
    EXPECT_EQ(taken(a.fired, channels), want.y.fired);
    std::vector<double> scale(static_cast<size_t>(channels)), squares(scale);
    for (size_t c = 0; c < scale.size(); ++c) {  // every |m_n| <= sum |y| / positions; sum |m_n| <= the same
      scale[c] = want.y.abs_sum[c] * static_cast<double>(samples) / static_cast<double>(want.y.count);
      squares[c] = scale[c] * scale[c];
    }
    const double mean_bound = bound + kWide;  // the division rounds, on integers too
    expect_near(a.mean_peak, want.y.mean_peak, scale, mean_bound, "mean_peak");
    expect_near(a.mean_sum, want.y.mean_sum, scale, mean_bound, "mean_sum");
    expect_near(a.mean_sum_sq, want.y.mean_sum_sq, squares, 2 * mean_bound, "mean_sum_sq");
  }
}

/// One way of calling the epilogue.
struct Way {
  DType z_type;
  uint32_t sets;
  bool residual, scale, in_place;
  Activation activation;
  Pitch pitch;
  float threshold;
};

/// The ways alternate, so that every type and channel count meets all of them over its shapes.
Way way_of(DType dtype, size_t turn) {
  static constexpr uint32_t kSets[] = {kActivity, kEverything, kActivity | kPerSample, kMoments | kRange, kAbsolute, 0};
  Way w{};
  w.sets = kSets[turn % 6];
  w.residual = turn % 2 == 0;
  w.scale = turn % 3 != 0;
  w.in_place = turn % 4 == 1;
  w.z_type = dtype != DType::kF32 && turn % 4 == 2 ? DType::kF32 : dtype;
  w.activation = turn % 5 == 4 ? Activation::kNone : Activation::kRelu;
  w.pitch = turn % 4 < 2 ? Pitch::kPadded : Pitch::kDense;
  w.threshold = turn % 7 == 3 ? 1.0F : 0.0F;
  return w;
}

struct Values {
  std::vector<float> z, residual, scale, shift;
};

/// The epilogue's definition in double, and z' as an intermediate result.
void reference_epilogue(const Values& in, const Way& way, const ImageShape& shape, std::vector<double>& z,
                        std::vector<double>& y) {
  const auto channels = static_cast<size_t>(shape.channels), positions = static_cast<size_t>(shape.positions());
  z.clear(), y.clear();
  for (size_t i = 0; i < in.z.size(); ++i) {
    const size_t c = i / positions % channels;
    z.push_back((way.scale ? static_cast<double>(in.scale[c]) : 1.0) * static_cast<double>(in.z[i]) +
                static_cast<double>(in.shift[c]));
    const double v = z.back() + (way.residual ? static_cast<double>(in.residual[i]) : 0.0);
    y.push_back(way.activation == Activation::kRelu && v < 0 ? 0.0 : v);
  }
}

/// Runs one case; `exact`: integers, everything equal.
void run_case(DType dtype, int64_t samples, const ImageShape& shape, const Way& way, const Values& in, bool exact) {
  const int64_t pitch = pitch_of(shape.channels, way.pitch);
  DeviceActivation z(way.z_type, samples, shape, pitch, in.z);
  DeviceActivation residual(dtype, samples, shape, pitch, in.residual);
  DeviceActivation other(dtype, samples, shape, pitch);
  DeviceActivation& y = way.in_place && way.z_type == dtype ? z : other;
  DeviceBuffer scale(in.scale.size() * 4), shift(in.shift.size() * 4);
  scale.upload(in.scale), shift.upload(in.shift);
  Totals totals(samples, shape, way.sets, way.threshold);
  Epilogue e;
  e.z = z.view(), e.y = y.view(), e.activation = way.activation, e.totals = &totals.device;
  e.scale = way.scale ? scale.as<float>() : nullptr, e.shift = shift.as<float>();
  e.residual = way.residual ? residual.memory.as<void>() : nullptr;
  e.workspace = totals.workspace.as<void>(), e.workspace_bytes = totals.workspace.size();
  launch_epilogue(e, nullptr);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::vector<double> want_z, want_y;
  reference_epilogue(in, way, shape, want_z, want_y);
  const std::vector<float> got = y.values();
  EXPECT_EQ(y.dirty_padding(), 0);
  for (size_t i = 0; i < got.size(); ++i) {
    const double size = std::fabs(want_z[i]) + std::fabs(want_y[i]);
    const double tolerance = exact ? 0 : unit_of(dtype) * std::fabs(want_y[i]) * 1.01 + 2 * kU * size + floor_of(dtype);
    ASSERT_TRUE(std::fabs(static_cast<double>(got[i]) - want_y[i]) <= tolerance)
        << "y[" << i << "] got " << got[i] << ", want " << want_y[i] << " +- " << tolerance;
  }
  expect_sums(totals, wanted_sums(want_z, got, samples, shape, way.threshold), samples, exact ? 0 : kBound, way.sets);
}

using EpilogueCase = KernelCaseTest;

std::string describe(int64_t samples, const ImageShape& shape, const Way& w) {
  return std::to_string(samples) + " x " + to_string(shape) + " z " + short_name(w.z_type) + " sets " + std::to_string(w.sets) +
         (w.residual ? " residual" : "") + (w.scale ? " scale" : "") + (w.in_place ? " in place" : "") +
         (w.pitch == Pitch::kDense ? " dense" : " padded");
}

template <typename F>
void for_each_shape(int64_t channels, const F& f) {
  size_t turn = static_cast<size_t>(channels) % 5;
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}, {5, 9}}) {
    for (const int64_t samples : {1, 3}) {
      f(samples, ImageShape{channels, h, w}, turn);
      turn += 1;
    }
  }
}

TEST_P(EpilogueCase, IntegersAreExact) {
  const auto [dtype, channels] = GetParam();
  for_each_shape(channels, [&, type = dtype](int64_t samples, const ImageShape& shape, size_t turn) {
    const Way way = way_of(type, turn);
    SCOPED_TRACE(describe(samples, shape, way));
    const auto count = static_cast<size_t>(samples * shape.elements()), c = static_cast<size_t>(shape.channels);
    run_case(type, samples, shape, way,
             {small_integers(count, 1), small_integers(count, 2), small_integers(c, 3, 2), small_integers(c, 4)}, true);
  });
}

TEST_P(EpilogueCase, RandomValuesAreWithinTheBound) {
  const auto [dtype, channels] = GetParam();
  for_each_shape(channels, [&, type = dtype](int64_t samples, const ImageShape& shape, size_t turn) {
    const Way way = way_of(type, turn + 3);
    SCOPED_TRACE(describe(samples, shape, way));
    const ImageShape vector{shape.channels, 1, 1};
    run_case(type, samples, shape, way,
             {random_values(samples, shape, way.z_type, 5), random_values(samples, shape, type, 6),
              random_values(1, vector, DType::kF32, 7), random_values(1, vector, DType::kF32, 8)},
             false);
  });
}

TEST_P(EpilogueCase, ObserveTakesWhatItIsAskedFor) {
  const auto [dtype, channels] = GetParam();
  const ImageShape shape{channels, 7, 5};
  const int64_t samples = 2;
  const DeviceActivation y(dtype, samples, shape, pitch_of(channels, Pitch::kPadded), random_values(samples, shape, dtype, 9));
  const std::vector<float> before = y.values();
  const Wanted want = wanted_sums({}, before, samples, shape, 0.5F);
  const uint32_t laid_out = kEverything & ~uint32_t{kMoments};
  Totals all(samples, shape, laid_out, 0.5F), parts(samples, shape, laid_out, 0.5F);
  const auto bytes = all.workspace.size();
  launch_observe(y.view(), all.device, all.workspace.as<void>(), bytes, nullptr);
  expect_sums(all, want, samples, kBound, laid_out);
  launch_observe(y.view(), parts.device, parts.workspace.as<void>(), bytes, nullptr, kPerSample);
  parts.fetch();  // nothing but per-sample sums was touched
  EXPECT_EQ(taken(parts.host.arrays.nonfinite, channels), std::vector<int64_t>(static_cast<size_t>(channels), 0));
  EXPECT_EQ(taken(parts.host.arrays.sum, channels), std::vector<double>(static_cast<size_t>(channels), 0));
  EXPECT_EQ(taken(parts.host.arrays.max, channels), std::vector<double>(static_cast<size_t>(channels), kLowest));
  launch_observe(y.view(), parts.device, parts.workspace.as<void>(), bytes, nullptr, laid_out & ~uint32_t{kPerSample});
  expect_sums(parts, want, samples, kBound, laid_out);
  const std::vector<float> after = y.values();
  EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Kernels, EpilogueCase, testing::ValuesIn(kernel_cases()), case_name);

using EpilogueKernel = KernelTest;

/// The split of a large map over several slots, and totals that add up over launches with different sample counts.
TEST_F(EpilogueKernel, PartialBatchesAddUpToTheWhole) {
  const ImageShape shape{24, 20, 17};  // 340 positions: several slots
  const auto values = small_integers(static_cast<size_t>(5 * shape.elements()), 11, 20);
  const Wanted want = wanted_sums({}, values, 5, shape, 0.0F);
  const uint32_t sets = kActivity | kAbsolute | kRange | kPerSample;
  Totals totals(5, shape, sets);  // the workspace of the full batch serves the partial one
  const auto per_sample = static_cast<ptrdiff_t>(shape.elements());
  const DeviceActivation first(DType::kF16, 4, shape, 24, {values.begin(), values.begin() + 4 * per_sample});
  const DeviceActivation last(DType::kF16, 1, shape, 24, {values.begin() + 4 * per_sample, values.end()});
  launch_observe(first.view(), totals.device, totals.workspace.as<void>(), totals.workspace.size(), nullptr);
  launch_observe(last.view(), totals.device, totals.workspace.as<void>(), totals.workspace.size(), nullptr);
  expect_sums(totals, want, 5, 0, sets);
}

TEST_F(EpilogueKernel, WorkspaceNeverShrinksWithMoreSamples) {
  for (const uint32_t sets : {uint32_t{kActivity}, kEverything}) {
    for (const ImageShape& shape : {ImageShape{64, 56, 56}, ImageShape{2048, 7, 7}, ImageShape{37, 3, 3}}) {
      size_t before = 0;
      for (int64_t samples = 1; samples <= 300; ++samples) {
        const size_t bytes = epilogue_workspace_bytes(samples, shape, sets);
        ASSERT_GE(bytes, before) << samples << " x " << to_string(shape);
        before = bytes;
      }
    }
  }
}

/// NaN, both infinities and values whose squares overflow f32: stored, counted and summed by the rules of arithmetic.
TEST_F(EpilogueKernel, NonFiniteAndHugeValuesAreNotHidden) {
  for (const DType dtype : case_types()) {
    SCOPED_TRACE(short_name(dtype));
    const ImageShape shape{9, 5, 5};
    std::vector<float> z = small_integers(static_cast<size_t>(2 * shape.elements()), 12);
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const float huge = dtype == DType::kF16 ? 60000.0F : 0x1.5p+100F;
    const float planted[] = {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf, huge, -huge};
    for (size_t c = 0; c < 5; ++c) z[(c + 2) * 25 + 7 * c % 25] = planted[c];
    const Way way{dtype, kEverything, false, false, false, Activation::kNone, Pitch::kDense, 0.0F};
    const DeviceActivation in(dtype, 2, shape, 9, z);
    for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
      DeviceActivation y(dtype, 2, shape, 9);
      Totals totals(2, shape, way.sets);
      Epilogue e;
      e.z = in.view(), e.y = y.view(), e.activation = activation, e.totals = &totals.device;
      e.workspace = totals.workspace.as<void>(), e.workspace_bytes = totals.workspace.size();
      launch_epilogue(e, nullptr);
      const std::vector<float> got = y.values();
      for (size_t i = 0; i < got.size(); ++i) {
        const float want = activation == Activation::kRelu && z[i] < 0 ? 0.0F : rounded_to(static_cast<double>(z[i]), dtype);
        ASSERT_TRUE(std::isnan(want) ? std::isnan(got[i]) : got[i] == want) << i << " got " << got[i] << ", want " << want;
      }
      std::vector<double> wide;
      for (const float each : z) wide.push_back(static_cast<double>(rounded_to(static_cast<double>(each), dtype)));
      const Wanted want = wanted_sums(wide, got, 2, shape, 0.0F);
      EXPECT_EQ(std::accumulate(want.nonfinite.begin(), want.nonfinite.end(), int64_t{0}),
                activation == Activation::kRelu ? 2 : 3);
      expect_sums(totals, want, 2, kBound, way.sets);
    }
  }
}

/// Each within a few roundings of f32, then rounded once to y's type; NaN stays; the sums are of the stored values.
TEST_F(EpilogueKernel, EveryActivationIsTheOracles) {
  for (const DType dtype : case_types()) {
    for (const Attrs& attrs : other_activations()) {
      const Activation activation = activation_of(attrs);
      SCOPED_TRACE(std::string(short_name(dtype)) + " " + std::string(op_name(attrs)));
      const ImageShape shape{11, 5, 5};
      std::vector<float> values = random_values(2, shape, dtype, 12);
      for (float& v : values) v = rounded_to(4 * static_cast<double>(v), dtype);
      values[3] = std::numeric_limits<float>::quiet_NaN();
      const DeviceActivation z(dtype, 2, shape, 16, values), y(dtype, 2, shape, 16);
      Totals totals(2, shape, kActivity | kAbsolute | kRange);
      Epilogue e;
      e.z = z.view(), e.y = y.view(), e.activation = activation, e.totals = &totals.device;
      e.workspace = totals.workspace.as<void>(), e.workspace_bytes = totals.workspace.size();
      launch_epilogue(e, nullptr);
      const std::vector<float> got = y.values();
      const double unit = dtype == DType::kF32 ? 0x1p-24 : dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
      for (size_t i = 0; i < got.size(); ++i) {
        const double want = reference_activation(activation, static_cast<double>(values[i]));
        if (std::isnan(want)) {
          EXPECT_TRUE(std::isnan(got[i]));
        } else {
          EXPECT_NEAR(got[i], want, 1.01 * unit * std::fabs(want) + 0x1p-20 * (1 + std::fabs(want))) << "of " << values[i];
        }
      }
      EXPECT_EQ(y.dirty_padding(), 0);
      const std::vector<double> wide(values.begin(), values.end());
      expect_sums(totals, wanted_sums(wide, got, 2, shape, 0.0F), 2, kBound, kActivity | kAbsolute | kRange);
    }
  }
}

/// The same bits again, in another order of threads and blocks (harness), or in any order (GPU).
TEST_F(EpilogueKernel, TheSameBitsEveryTime) {
  const ImageShape shape{40, 14, 14};
  const DeviceActivation y(DType::kF32, 3, shape, 40, random_values(3, shape, DType::kF32, 13));
  const uint32_t sets = kEverything & ~uint32_t{kMoments};
  std::vector<double> first;
  for (int repeat = 0; repeat < 3; ++repeat) {
    Totals totals(3, shape, sets);
    launch_observe(y.view(), totals.device, totals.workspace.as<void>(), totals.workspace.size(), nullptr);
    totals.fetch();
    if (repeat == 0) first = totals.image;
    EXPECT_EQ(std::memcmp(first.data(), totals.image.data(), first.size() * sizeof(double)), 0);
  }
}

TEST_F(EpilogueKernel, RefusesWhatDoesNotFit) {
  const ImageShape shape{8, 2, 2};
  const DeviceActivation z(DType::kF16, 1, shape, 8), y(DType::kF16, 1, shape, 8), wide(DType::kF16, 1, shape, 16);
  const DeviceActivation brain(DType::kBF16, 1, shape, 8);
  Totals totals(1, shape, kActivity), others(1, {9, 2, 2}, kActivity);
  Epilogue good;
  good.z = z.view(), good.y = y.view(), good.totals = &totals.device;
  good.workspace = totals.workspace.as<void>(), good.workspace_bytes = totals.workspace.size();
  EXPECT_NO_THROW(launch_epilogue(good, nullptr));
  const auto refused = [&](auto change) {
    Epilogue e = good;
    change(e);
    EXPECT_THROW(launch_epilogue(e, nullptr), ContractError);
  };
  refused([&](Epilogue& e) { e.z = wide.view(); });
  refused([&](Epilogue& e) { e.z = brain.view(); });
  refused([&](Epilogue& e) { e.y.data = nullptr; });
  refused([&](Epilogue& e) { e.y.dtype = DType::kU8; });
  refused([&](Epilogue& e) { e.y.channel_pitch = 7; });
  refused([&](Epilogue& e) { e.totals = &others.device; });
  refused([&](Epilogue& e) { e.workspace = nullptr; });
  refused([&](Epilogue& e) { e.workspace_bytes -= 1; });
}

}  // namespace
}  // namespace elek::test
