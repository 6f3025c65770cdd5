// SPDX-License-Identifier: Apache-2.0
// The epilogue compared with double: y is exact on small integers and otherwise within its rounding; every sum is within the
// bound that docs/statistics.md derives, 10 * 2^-24 of the sum of absolute terms; counts are exact. All layouts, targets, 1 and
// 2 threads.
#include "kernels/cpu/epilogue.h"

#include <limits>
#include <memory>

#include "tests/kernels/kernel_case.h"
#include "tests/support/activation.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

constexpr double kChainBound = 10 * kU;
constexpr double kDoubleBound = 0x1p-45;  // of the double additions after the chains: fewer than 2^8 in a row at 2^-53
constexpr uint32_t kEverything = kActivity | kMoments | kAbsolute | kRange | kPerSample;

/// Sums in guarded memory, and their reduction.
struct Sums {
  Guarded<double> block;
  ChannelSums sums;
  std::vector<int64_t> nonfinite, active, fired;
  std::vector<double> sum, sum_sq, z_sum, z_sum_sq, abs_sum, max, mean_peak, mean_sum, mean_sum_sq;

  Sums(int64_t channels, Layout layout, uint32_t sets, float threshold, int threads)
      : block(ChannelSums::bytes(padded_channels(layout, channels), sets, threads) / sizeof(double)) {
    sums = ChannelSums::lay_out(block.data(), channels, padded_channels(layout, channels), sets, threshold, threads);
    sums.reset();
  }
  void reduce() {
    const auto c = static_cast<size_t>(sums.channels);
    const auto has = [&](uint32_t set) { return (sums.sums & set) != 0; };
    SumArrays out;
    const auto want = [&](auto& vector, auto*& pointer, bool asked) {
      if (!asked) return;
      vector.assign(c, -77);
      pointer = vector.data();
    };
    want(nonfinite, out.nonfinite, true);
    want(sum, out.sum, has(kActivity)), want(sum_sq, out.sum_sq, has(kActivity)), want(active, out.active, has(kActivity));
    want(z_sum, out.z_sum, has(kMoments)), want(z_sum_sq, out.z_sum_sq, has(kMoments));
    want(abs_sum, out.abs_sum, has(kAbsolute)), want(max, out.max, has(kRange)), want(fired, out.fired, has(kPerSample));
    want(mean_peak, out.mean_peak, has(kPerSample)), want(mean_sum, out.mean_sum, has(kPerSample));
    want(mean_sum_sq, out.mean_sum_sq, has(kPerSample));
    sums.reduce(out);
  }
};

/// What the sums should be, and the sums of absolute terms that bound their error.
struct Wanted {
  std::vector<int64_t> nonfinite, active, fired;
  std::vector<double> sum, sum_sq, z_sum, z_sum_sq, abs_sum, max, mean_peak, mean_sum, mean_sum_sq, z_abs;
};

void add_sample(const double* z, const float* y, size_t positions, float threshold, size_t c, Wanted& w) {
  double sample = 0;
  bool fired = false;
  for (size_t p = 0; p < positions; ++p) {
    const double v = static_cast<double>(y[p]);
    w.nonfinite[c] += std::isfinite(v) ? 0 : 1;
    w.sum[c] += v, w.sum_sq[c] += v * v, w.abs_sum[c] += std::fabs(v);
    if (v > w.max[c] || v != v) w.max[c] = v;
    w.active[c] += y[p] > threshold ? 1 : 0;
    fired = fired || y[p] > threshold;
    sample += v;
    if (z == nullptr) continue;
    w.z_sum[c] += z[p], w.z_sum_sq[c] += z[p] * z[p], w.z_abs[c] += std::fabs(z[p]);
  }
  const double mean = sample / static_cast<double>(positions);
  w.fired[c] += fired ? 1 : 0;
  if (mean > w.mean_peak[c] || mean != mean) w.mean_peak[c] = mean;
  w.mean_sum[c] += mean, w.mean_sum_sq[c] += mean * mean;
}

Wanted wanted_sums(const std::vector<double>& z, const std::vector<float>& y, int64_t samples, const ImageShape& shape,
                   float threshold) {
  const auto channels = static_cast<size_t>(shape.channels), positions = static_cast<size_t>(shape.positions());
  constexpr double kLowest = -std::numeric_limits<double>::infinity();
  Wanted w;
  for (auto* v : {&w.sum, &w.sum_sq, &w.z_sum, &w.z_sum_sq, &w.abs_sum, &w.mean_sum, &w.mean_sum_sq, &w.z_abs})
    v->assign(channels, 0);
  for (auto* v : {&w.max, &w.mean_peak}) v->assign(channels, kLowest);
  for (auto* v : {&w.nonfinite, &w.active, &w.fired}) v->assign(channels, 0);
  for (size_t n = 0; n < static_cast<size_t>(samples); ++n) {
    for (size_t c = 0; c < channels; ++c) {
      const size_t at = (n * channels + c) * positions;
      add_sample(z.empty() ? nullptr : z.data() + at, y.data() + at, positions, threshold, c, w);
    }
  }
  return w;
}

/// |got - want| <= bound * scale (+ extra), channel by channel, in the accept form; not finite: same kind.
void expect_near(const std::vector<double>& got, const std::vector<double>& want, const std::vector<double>& scale,
                 double bound, double extra, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t c = 0; c < want.size(); ++c) {
    if (!std::isfinite(want[c])) {
      EXPECT_TRUE(std::isnan(want[c]) ? std::isnan(got[c]) : got[c] == want[c])
          << what << "[" << c << "] " << got[c] << " " << want[c];
      continue;
    }
    const double tolerance = bound * scale[c] + extra;
    EXPECT_TRUE(std::fabs(got[c] - want[c]) <= tolerance)
        << what << "[" << c << "] got " << got[c] << ", want " << want[c] << " +- " << tolerance;
  }
}

enum class Exact : uint8_t { kYes, kNo };

/// z_slack: what f32 rounding of z' itself may add to sum z (0 for integers).
void expect_sums(Sums& got, const Wanted& want, int64_t samples, int64_t positions, Exact exact, double z_slack = 0) {
  const double bound = exact == Exact::kYes ? 0 : kChainBound + kDoubleBound;
  const double mean_bound = kDoubleBound + bound;
  const uint32_t sets = got.sums.sums;
  got.reduce();
  EXPECT_EQ(got.nonfinite, want.nonfinite);
  if ((sets & kActivity) != 0) {
    EXPECT_EQ(got.active, want.active);
    expect_near(got.sum, want.sum, want.abs_sum, bound, 0, "sum");
    expect_near(got.sum_sq, want.sum_sq, want.sum_sq, bound, 0, "sum_sq");
  }
  if ((sets & kMoments) != 0) {
    const auto count = static_cast<double>(samples * positions);
    expect_near(got.z_sum, want.z_sum, want.z_abs, bound, z_slack * count, "z_sum");
    std::vector<double> slack(want.z_abs);
    for (size_t c = 0; c < slack.size(); ++c)
      slack[c] = bound * want.z_sum_sq[c] + 2 * z_slack * want.z_abs[c] + z_slack * z_slack * count;
    expect_near(got.z_sum_sq, want.z_sum_sq, slack, exact == Exact::kYes ? 0 : 1.0 + bound, 0, "z_sum_sq");
  }
  if ((sets & kAbsolute) != 0) expect_near(got.abs_sum, want.abs_sum, want.abs_sum, bound, 0, "abs_sum");
  if ((sets & kRange) != 0) expect_near(got.max, want.max, want.max, 0, 0, "max");
  if ((sets & kPerSample) != 0) {
    EXPECT_EQ(got.fired, want.fired);
    // |m_n - want| <= bound * mean_p |y|; with A = sum |y| / positions: peak and sum within bound * A, squares within 2 * bound
    // * A^2
    std::vector<double> a(want.abs_sum), a_sq(want.abs_sum);
    for (size_t c = 0; c < a.size(); ++c) a[c] /= static_cast<double>(positions), a_sq[c] = 2 * a[c] * a[c];
    expect_near(got.mean_peak, want.mean_peak, a, mean_bound, 0, "mean_peak");
    expect_near(got.mean_sum, want.mean_sum, a, mean_bound, 0, "mean_sum");
    expect_near(got.mean_sum_sq, want.mean_sum_sq, a_sq, mean_bound, 0, "mean_sum_sq");
  }
  EXPECT_TRUE(got.block.guards_intact());
}

enum class Where : uint8_t { kApart, kOverZ, kOverResidual };

/// One way to call the epilogue.
struct Form {
  bool scaled, residual;
  elek::Activation activation;
  Where where;
  uint32_t sets;
};
const Form kForms[] = {
    {false, false, elek::Activation::kRelu, Where::kOverZ, kActivity},
    {true, true, elek::Activation::kRelu, Where::kOverZ, kActivity | kPerSample},
    {false, true, elek::Activation::kRelu, Where::kOverResidual, kActivity},
    {true, false, elek::Activation::kNone, Where::kApart, kEverything},
    {true, true, elek::Activation::kRelu, Where::kOverZ, kEverything},
    {false, true, elek::Activation::kNone, Where::kApart, kMoments},
    {true, false, elek::Activation::kRelu, Where::kApart, kAbsolute | kRange},
    {true, true, elek::Activation::kNone, Where::kOverResidual, 0},
};

struct Inputs {
  std::vector<float> z, residual, scale, shift;
};

/// z' and y in double, and the largest rounding that f32 may put into z'.
struct Reference {
  std::vector<double> z, y;
  double z_slack = 0;
  double largest = 0;  // |y|, before relu, finite
};
Reference reference(const Inputs& in, const ImageShape& shape, const Form& form) {
  Reference r;
  for (size_t i = 0; i < in.z.size(); ++i) {
    const auto c = i / static_cast<size_t>(shape.positions()) % static_cast<size_t>(shape.channels);
    const double product = static_cast<double>(in.z[i]) * (form.scaled ? static_cast<double>(in.scale[c]) : 1.0);
    const double z = product + (form.scaled ? static_cast<double>(in.shift[c]) : 0.0);
    const double v = z + (form.residual ? static_cast<double>(in.residual[i]) : 0.0);
    r.z.push_back(z);
    if (std::isfinite(v)) r.largest = std::max(r.largest, std::fabs(v));
    r.y.push_back(form.activation == elek::Activation::kRelu && v < 0 ? 0.0 : v);
    if (std::isfinite(z))
      r.z_slack = std::max(r.z_slack, form.scaled ? 1.0001 * kU * (std::fabs(product) + std::fabs(z)) : 0.0);
  }
  return r;
}

void check_form(const Inputs& in, int64_t samples, const ImageShape& shape, Layout layout, const Form& form, int threads,
                Exact exact) {
  SCOPED_TRACE(to_text(samples, shape, layout) + " sets " + std::to_string(form.sets) + " threads " + std::to_string(threads));
  elek::test::Activation z(samples, shape, layout, in.z), residual(samples, shape, layout, in.residual),
      apart(samples, shape, layout);
  elek::test::Activation& y = form.where == Where::kOverZ ? z : form.where == Where::kOverResidual ? residual : apart;
  const float threshold = exact == Exact::kYes ? 1.0F : 0.25F;  // 1: so that > and >= differ on integers
  Sums sums(shape.channels, layout, form.sets, threshold, 2);
  Epilogue e;
  e.z = z.view(), e.y = y.view(), e.activation = form.activation, e.sums = &sums.sums;
  if (form.scaled) e.scale = in.scale.data(), e.shift = in.shift.data();
  if (form.residual) e.residual = residual.memory.data();
  run_epilogue(e, threads);

  const Reference want = reference(in, shape, form);
  const std::vector<float> got = y.nchw();
  const double y_slack = exact == Exact::kYes ? 0 : want.z_slack + (form.residual ? 1.0001 * kU * want.largest : 0);
  const Mismatch m = compare(got, want.y, y_slack, 0, NonFinite::kSameKind);
  EXPECT_EQ(m.count, 0) << m.message();
  EXPECT_EQ(y.dirty_padding(), 0);
  EXPECT_TRUE(z.memory.guards_intact() && residual.memory.guards_intact() && apart.memory.guards_intact());
  expect_sums(sums, wanted_sums(want.z, got, samples, shape, threshold), samples, shape.positions(), exact, want.z_slack);
}

Inputs integer_inputs(int64_t samples, const ImageShape& shape, uint64_t seed) {
  const auto count = static_cast<size_t>(samples * shape.elements());
  Inputs in{small_integers(count, seed), small_integers(count, seed + 1), {}, {}};
  for (int64_t c = 0; c < shape.channels; ++c) {
    in.scale.push_back(static_cast<float>(c % 3 == 2 ? -1 : c % 3 + 1));
    in.shift.push_back(static_cast<float>(c % 5 - 2));
  }
  return in;
}

Inputs random_inputs(int64_t samples, const ImageShape& shape, uint64_t seed) {
  const auto count = static_cast<size_t>(samples * shape.elements()), channels = static_cast<size_t>(shape.channels);
  Inputs in{random_values(count, seed, shape.channels, shape.positions()), random_values(count, seed + 1),
            random_values(channels, seed + 2), random_values(channels, seed + 3, shape.channels)};
  return in;
}

TEST(Epilogue, IntegersAreExactInEveryShapeLayoutAndTarget) {
  for_each_target([] {
    size_t turn = 0;
    for_each_case([&](int64_t samples, const ImageShape& shape, Layout layout) {
      const Form& form = kForms[turn++ % std::size(kForms)];
      if (shape.elements() > 50000 && samples > 1) return;
      check_form(integer_inputs(samples, shape, turn), samples, shape, layout, form, 1 + static_cast<int>(turn / 3 % 2),
                 Exact::kYes);
    });
  });
}

TEST(Epilogue, EveryFormIsWithinTheBoundOnRandomValues) {
  for_each_target([] {
    uint64_t seed = 100;
    for (const Form& form : kForms) {
      for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
        for (const auto& [samples, shape] :
             {std::pair<int64_t, ImageShape>{3, {37, 14, 14}}, {1, {64, 5, 9}}, {1, {17, 56, 56}}, {3, {129, 1, 1}}}) {
          for (const int threads : {1, 2})
            check_form(random_inputs(samples, shape, ++seed), samples, shape, layout, form, threads, Exact::kNo);
        }
      }
    }
  });
}

TEST(Epilogue, MeanFarAboveDeviationKeepsItsSums) {
  for_each_target([] {
    const ImageShape shape{19, 56, 56};
    Inputs in = random_inputs(2, shape, 5);
    for (float& z : in.z) z = 1000.0F + 0.125F * z;
    for (const Layout layout : {Layout::kNchw, Layout::kNChw16c}) check_form(in, 2, shape, layout, kForms[0], 2, Exact::kNo);
  });
}

TEST(Epilogue, SmallTermsAreNotLostBehindLargeOnes) {
  // After 2^24 an f32 chain loses every 1 that follows: with long chains, here 48 u or more of the sum; with short ones, < 10
  // u. The first 64 positions are large, so that every chain of every layout starts with one.
  const ImageShape shape{3, 56, 56};
  for_each_target([&] {
    for (const float large : {0x1p24F, 0x1p12F}) {  // for the sums, for the sums of squares
      std::vector<float> values(static_cast<size_t>(shape.elements()), 1.0F);
      for (size_t i = 0; i < values.size(); ++i) values[i] = i % 3136 < 64 ? large : 1.0F;
      for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
        elek::test::Activation y(1, shape, layout, values);
        Sums sums(3, layout, kActivity, 0.25F, 1), every(3, layout, kEverything & ~uint32_t{kMoments}, 0.25F, 1);
        observe(y.view(), sums.sums, 1);
        observe(y.view(), every.sums, 1);
        const Wanted want = wanted_sums({}, values, 1, shape, 0.25F);
        expect_sums(sums, want, 1, 3136, Exact::kNo);
        expect_sums(every, want, 1, 3136, Exact::kNo);
      }
    }
  });
}

TEST(Epilogue, NanAndInfinityStayAndAreCounted) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for_each_target([&] {
    const ImageShape shape{21, 7, 9};
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      for (const Form& form : kForms) {
        Inputs in = integer_inputs(2, shape, 9);
        in.z[40] = kNan, in.z[41] = kNan, in.z[63 * 5 + 62] = kInf, in.z[63 * 20 + 1] = -kInf, in.z[63 * 21] = kInf;
        in.z[63 * 30 + 3] = 1e30F;  // finite, its square is not in f32: the sums must be
        check_form(in, 2, shape, layout, form, 1, Exact::kNo);
      }
    }
  });
}

TEST(Epilogue, NonfiniteIsNotZeroedByRelu) {  // the defect that oneDNN's post-op has
  elek::test::Activation z(1, {1, 1, 2}, Layout::kNChw16c, {std::nanf(""), -1.0F});
  Sums sums(1, Layout::kNChw16c, kActivity, 0, 1);
  Epilogue e;
  e.z = e.y = z.view(), e.activation = elek::Activation::kRelu, e.sums = &sums.sums;
  run_epilogue(e, 1);
  sums.reduce();
  EXPECT_TRUE(std::isnan(z.at(0, 0, 0)));
  EXPECT_EQ(z.at(0, 0, 1), 0.0F);
  EXPECT_EQ(sums.nonfinite[0], 1);
  EXPECT_TRUE(std::isnan(sums.sum[0]));
}

TEST(Epilogue, CallsAddUpAndThreadCountsAgree) {
  const ImageShape shape{40, 28, 28};
  const Inputs in = random_inputs(4, shape, 77);

  for (const int threads : {1, 2, 5}) {
    std::vector<double> first;
    for (int repeat = 0; repeat < 2; ++repeat) {
      Sums sums(shape.channels, Layout::kNChw16c, kEverything, 0, threads);
      elek::test::Activation z(4, shape, Layout::kNChw16c, in.z);
      observe(z.view(), sums.sums, threads);
      observe(z.view(), sums.sums, threads);
      Wanted want = wanted_sums({}, in.z, 4, shape, 0);
      sums.reduce();
      for (size_t c = 0; c < want.sum.size(); ++c) {
        EXPECT_EQ(sums.active[c], 2 * want.active[c]);
        EXPECT_EQ(sums.fired[c], 2 * want.fired[c]);
        EXPECT_TRUE(std::fabs(sums.sum[c] - 2 * want.sum[c]) <= 2 * (kChainBound + kDoubleBound) * want.abs_sum[c]);
        EXPECT_EQ(sums.z_sum[c], 0) << "z is not there: left alone";
      }
      if (repeat == 1) {
        EXPECT_EQ(sums.sum, first) << "same threads, same bits";
      }
      first = sums.sum;
    }
  }
}

TEST(Epilogue, ReadOnlyFormTakesOnlyWhatIsAsked) {
  const ImageShape shape{37, 14, 14};
  const std::vector<float> values = small_integers(static_cast<size_t>(3 * shape.elements()), 3);
  for_each_target([&] {
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      elek::test::Activation y(3, shape, layout, values);
      Sums all(shape.channels, layout, kEverything & ~uint32_t{kMoments}, 0.25F, 2),
          some(shape.channels, layout, kEverything, 0.25F, 2);
      observe(y.view(), all.sums, 2);
      expect_sums(all, wanted_sums({}, values, 3, shape, 0.25F), 3, shape.positions(), Exact::kYes);
      observe(y.view(), some.sums, 2, kPerSample);
      some.reduce();
      EXPECT_EQ(some.fired, all.fired);
      EXPECT_EQ(some.mean_sum, all.mean_sum);
      EXPECT_EQ(some.sum, std::vector<double>(37, 0.0));
      EXPECT_EQ(some.active, std::vector<int64_t>(37, 0));
      EXPECT_EQ(compare(y.nchw(), values, 0).count, 0) << "read only";
    }
  });
}

TEST(Epilogue, RefusesWhatDoesNotFit) {
  elek::test::Activation z(1, {4, 2, 2}, Layout::kNchw, std::vector<float>(16)), other(1, {4, 2, 3}, Layout::kNchw);
  Epilogue e;
  e.z = z.view(), e.y = other.view();
  EXPECT_THROW(run_epilogue(e, 1), ContractError);
  e.y = z.view(), e.y.data = nullptr;
  EXPECT_THROW(run_epilogue(e, 1), ContractError);
  Sums sums(5, Layout::kNchw, kActivity, 0, 1);
  EXPECT_THROW(observe(z.view(), sums.sums, 1), ContractError);
}

/// What one f32 evaluation may be off: some roundings of the operand, and Exp's.
constexpr double kActivationBound = 16 * kU;

TEST(EpilogueTest, EveryActivationIsTheOracles) {
  const std::vector<float> special = {0.0F, -0.0F, 1e-30F, -1e-30F, 88.0F, -88.0F, 200.0F, -200.0F, 1e30F, -1e30F};
  for (const Attrs& attrs : other_activations()) {
    const elek::Activation activation = activation_of(attrs);
    SCOPED_TRACE(std::string(op_name(attrs)) + " " + std::to_string(activation.low));
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      for (const uint32_t sets : {uint32_t{0}, uint32_t{kActivity}, kEverything}) {
        const ImageShape shape{21, 5, 3};
        std::vector<float> values(static_cast<size_t>(2 * shape.elements())), added(values.size());
        Random random(7);
        for (float& v : values) v = 4 * static_cast<float>(random.normal());
        for (float& v : added) v = static_cast<float>(random.normal());
        if (sets != kEverything) std::copy(special.begin(), special.end(), values.begin() + 30);
        elek::test::Activation z(2, shape, layout, values), residual(2, shape, layout, added), y(2, shape, layout);
        Sums sums(shape.channels, layout, std::max(sets, uint32_t{kActivity}), 0.25F, 2);
        Epilogue<float> e;
        e.z = z.view(), e.y = y.view(), e.residual = residual.memory.data(), e.activation = activation;
        if (sets != 0) e.sums = &sums.sums;
        run_epilogue(e, 2);
        const std::vector<float> got = y.nchw();
        for (size_t i = 0; i < got.size(); ++i) {
          const double v = static_cast<double>(values[i]) + static_cast<double>(added[i]);
          const double want = reference_activation(activation, v);
          EXPECT_NEAR(got[i], want, kActivationBound * (std::fabs(want) + std::fmin(std::fabs(v), 8))) << "of " << v;
        }
        EXPECT_EQ(y.dirty_padding(), 0);
        if (sets == 0) continue;
        std::vector<double> wide(values.begin(), values.end());
        expect_sums(sums, wanted_sums(wide, got, 2, shape, 0.25F), 2, shape.positions(), Exact::kNo);
      }
    }
  }
}

TEST(EpilogueTest, EveryActivationKeepsNanAndKnowsInfinity) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const Attrs& attrs : other_activations()) {
    const elek::Activation activation = activation_of(attrs);
    SCOPED_TRACE(std::string(op_name(attrs)));
    elek::test::Activation x(1, {3, 1, 1}, Layout::kNhwc, {std::numeric_limits<float>::quiet_NaN(), kInf, -1.0F});
    Epilogue<float> e;
    e.z = e.y = x.view(), e.activation = activation;
    run_epilogue(e, 1);
    EXPECT_TRUE(std::isnan(x.at(0, 0, 0)));
    EXPECT_EQ(static_cast<double>(x.at(0, 1, 0)), reference_activation(activation, static_cast<double>(kInf)));
  }
}

TEST(EpilogueTest, SiluOfMinusInfinityIsItsLimit) {
  elek::test::Activation x(1, {2, 1, 1}, Layout::kNhwc, {-std::numeric_limits<float>::infinity(), -3e38F});
  Epilogue<float> e;
  e.z = e.y = x.view(), e.activation = activation_of(SiluAttrs{});
  run_epilogue(e, 1);
  EXPECT_EQ(x.at(0, 0, 0), 0.0F);
  EXPECT_EQ(x.at(0, 1, 0), 0.0F);
}

}  // namespace
}  // namespace elek::test
