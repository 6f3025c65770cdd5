// SPDX-License-Identifier: Apache-2.0
// Statistics of running sessions. Two kinds of evidence:
// - as stored: a session keeps its values, and the double reference sums exactly these. Counts are equal, sums agree within
//   1e-6 of the sum of absolute terms (docs/statistics.md), NaN and infinity are counted.
// - exact: networks whose values are all small integers, compared with the double interpreter. Here the kernels' in-place
//   paths, micro-batches, partial batches and batch 1 must all give the same counts, and exact sums.
#include <gtest/gtest.h>

#include "core/error.h"
#include "graph/passes.h"
#include "tests/golden/session_support.h"
#include "tests/support/compare.h"

namespace elek {
namespace {

using test::run_all;
using test::TinyOptions;

constexpr uint32_t kStored = kActivity | kAbsolute | kRange | kPerSample;
constexpr double kSumTolerance = 1e-6;

TinyOptions odd_network() {
  TinyOptions tiny;  // widths 7, 13
  tiny.widths = {7, 13, 37};
  tiny.max_pool = true;
  tiny.input = {3, 19, 14};
  return tiny;
}

Probes watch_all(const Model& model, uint32_t sums) {
  Probes probes;
  probes.threshold = 0.125F;
  for (const std::string& name : test::stored_names(model)) probes.values[name] = sums;
  probes.tap_norms = test::kernel_names(model);
  return probes;
}

/// |got - want| <= 1e-6 * sum of |terms|, one a channel; the accept form, so that NaN fails.
void expect_sums(const std::vector<double>& got, const std::vector<double>& want, const std::vector<double>& terms,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t c = 0; c < want.size(); ++c) {
    if (!std::isfinite(want[c])) {
      EXPECT_EQ(std::isnan(got[c]), std::isnan(want[c])) << what << " channel " << c;
      EXPECT_TRUE(std::isnan(want[c]) || got[c] == want[c]) << what << " channel " << c << ": got " << got[c];
      continue;
    }
    const double tolerance = kSumTolerance * terms[c];
    const bool close = std::fabs(got[c] - want[c]) <= tolerance;
    EXPECT_TRUE(close) << what << " channel " << c << ": got " << got[c] << ", want " << want[c] << " +- " << tolerance;
  }
}

void expect_equal(const ValueSums& got, const test::ChannelSums& want, const std::string& name) {
  EXPECT_EQ(got.count, want.count) << name;
  EXPECT_EQ(got.nonfinite, want.nonfinite) << name;
  EXPECT_EQ(got.active, want.active) << name;
  EXPECT_EQ(got.fired, want.fired) << name;
  expect_sums(got.sum, want.sum, want.abs_sum, name + " sum");
  expect_sums(got.sum_sq, want.sum_sq, want.sum_sq, name + " sum of squares");
  expect_sums(got.abs_sum, want.abs_sum, want.abs_sum, name + " absolute sum");
  expect_sums(got.max, want.max, std::vector<double>(want.max.size(), 0.0), name + " max");  // no rounding in a maximum
  // A mean over positions rounds relative to the mean of magnitudes, which the samples' sums bound.
  expect_sums(got.mean_sum, want.mean_sum, want.abs_sum, name + " sum of means");
  expect_sums(got.mean_sum_sq, want.mean_sum_sq, want.sum_sq, name + " sum of squared means");
  expect_sums(got.mean_peak, want.mean_peak, want.abs_sum, name + " peak mean");
}

/// The direct convolution, and the Winograd kernels that sum values in registers.
constexpr Winograd kKernels[] = {Winograd::kOff, Winograd::k2x2, Winograd::k4x4};

/// Runs a session that keeps its values over one (partial) batch and compares all its sums with those values.
void expect_as_stored(const Model& model, int64_t batch, int64_t samples, const std::vector<uint8_t>& pixels, Winograd winograd,
                      Precision precision = Precision::kF32) {
  SessionOptions options;
  options.winograd = winograd;
  options.precision = precision;
  options.batch = batch;
  options.keep_values = true;
  options.probes = watch_all(model, kStored);
  Session session(model, options);
  (void)run_all(session, pixels, samples, batch);
  const Statistics got = session.statistics();
  EXPECT_EQ(got.samples, samples);
  EXPECT_EQ(got.model_hash, hash(model));
  ASSERT_EQ(got.values.size(), options.probes.values.size());
  for (const auto& [name, sums] : got.values) {
    const ImageShape& shape = model.graph.node(model.graph.at(name)).shape;
    EXPECT_EQ(sums.channels, shape.channels);
    EXPECT_EQ(sums.samples, samples);
    EXPECT_TRUE(sums.z_sum.empty()) << name;
    expect_equal(sums, test::channel_sums(session.stored_value(name), samples, shape, options.probes.threshold), name);
  }
  ASSERT_EQ(got.tap_norms.size(), options.probes.tap_norms.size());
  for (const auto& [name, norms] : got.tap_norms) {
    const Node& node = model.graph.node(model.graph.at(name));
    const Node& input = model.graph.node(node.inputs[0]);
    const Conv2dAttrs a = node.is<Conv2dAttrs>() ? node.as<Conv2dAttrs>() : Conv2dAttrs{};
    const auto want = test::tap_norms(session.stored_value(input.name), samples, input.shape, a.window());
    EXPECT_EQ(norms.kernel, a.kernel) << name;
    EXPECT_EQ(norms.channels, input.shape.channels) << name;
    expect_sums(norms.norm_sq, want, want, name + " tap norms");
  }
}

TEST(Statistics, EqualTheOracleOverTheStoredValues) {
  for (const TinyOptions& tiny : {odd_network(), test::tiny_bottleneck_options()}) {
    const Model model = test::tiny_resnet(tiny);
    const auto pixels = test::tiny_pixels(tiny.input, 7, 21);
    for (const Winograd winograd : kKernels) {
      expect_as_stored(model, 7, 7, pixels, winograd);
      expect_as_stored(model, 9, 7, pixels, winograd);  // a partial batch counts its own samples only
      expect_as_stored(model, 1, 1, pixels, winograd);
    }
  }
}

/// bf16: the sums are those of the stored, rounded values.
TEST(Statistics, OfBf16EqualTheOracleOverTheStoredValues) {
  if (const std::string why = test::why_no_bf16(); !why.empty()) GTEST_SKIP() << why;
  for (const TinyOptions& tiny : {odd_network(), test::tiny_bottleneck_options()}) {
    const Model model = test::tiny_resnet(tiny);
    const auto pixels = test::tiny_pixels(tiny.input, 7, 21);
    expect_as_stored(model, 7, 7, pixels, Winograd::kAuto, Precision::kBf16);
    expect_as_stored(model, 9, 7, pixels, Winograd::kAuto, Precision::kBf16);
    expect_as_stored(model, 1, 1, pixels, Winograd::kAuto, Precision::kBf16);
  }
}

TEST(Statistics, NanAndInfinityAreCountedNotHidden) {
  Model model = test::tiny_resnet(odd_network());
  const auto pixels = test::tiny_pixels(odd_network().input, 4, 22);
  const auto plant = [&](const std::string& name, size_t channel, float value) {
    const auto old = model.parameter(name).f32();
    std::vector<float> values(old.begin(), old.end());
    values[channel] = value;
    model.parameters[name] = test::tensor_of(values, model.parameter(name).shape());
  };
  std::string last_norm;
  for (const Node& node : model.graph.nodes()) last_norm = node.is<BatchNormAttrs>() ? node.name : last_norm;
  plant(last_norm + ".weight", 5, 3e38F);  // overflows to both infinities, and infinity times zero further on
  for (const Winograd winograd : kKernels) expect_as_stored(model, 4, 4, pixels, winograd);
  plant(last_norm + ".bias", 3, std::numeric_limits<float>::quiet_NaN());
  for (const Winograd winograd : kKernels) expect_as_stored(model, 4, 4, pixels, winograd);
  if (test::why_no_bf16().empty()) expect_as_stored(model, 4, 4, pixels, Winograd::kAuto, Precision::kBf16);

  SessionOptions options;
  options.batch = 4;
  options.probes = watch_all(model, kActivity);
  Session session(model, options);
  (void)run_all(session, pixels, 4, 4);
  const Statistics got = session.statistics();
  const ValueId output = fuse(model.graph).steps.front().output;
  EXPECT_EQ(got.values.at(model.graph.node(output).name).nonfinite, 0);
  int64_t nonfinite = 0;
  for (const auto& [name, sums] : got.values) nonfinite += sums.nonfinite;
  EXPECT_GT(nonfinite, 0);
}

struct Slicing {
  int64_t batch, micro_batch;
  int threads;
};

/// Networks of integers: the same numbers for any batch, micro-batch and path, pre-activations included.
TEST(Statistics, IntegerNetworksAreExactOnEveryPath) {
  const TinyOptions tiny = test::tiny_integer_options();
  const Model model = test::tiny_resnet(tiny);
  constexpr int64_t kSamples = 11;
  const auto pixels = test::tiny_pixels(tiny.input, kSamples, 23, true);
  const auto reference = test::run_reference(model, pixels, kSamples);
  const FusedGraph fused = fuse(model.graph);
  for (const bool moments : {false, true}) {
    for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
      for (const Winograd winograd : {Winograd::kOff, Winograd::k2x2})  // F(4x4) is not exact on integers
        for (const Slicing& run :
             {Slicing{11, 0, 2}, Slicing{4, 0, 1}, Slicing{11, 4, 2}, Slicing{1, 0, 2}, Slicing{5, 3, 3}}) {
          SessionOptions options;
          options.batch = run.batch;
          options.micro_batch = run.micro_batch;
          options.threads = run.threads;
          options.batch_norm = batch_norm;
          options.winograd = winograd;
          for (const FusedNode& step : fused.steps) {
            const bool has_z = step.node.is<Conv2dAttrs>() || step.node.is<LinearAttrs>();
            const uint32_t z = moments && has_z ? uint32_t{kMoments} : 0U;
            options.probes.values[model.graph.node(step.output).name] = kStored | z;
          }
          Session session(model, options);
          (void)run_all(session, pixels, kSamples, run.batch);
          const Statistics got = session.statistics();
          for (const FusedNode& step : fused.steps) {
            const Node& node = model.graph.node(step.output);
            const std::string what = node.name + " batch " + std::to_string(run.batch) + (moments ? " with moments" : "") +
                                     (batch_norm == BatchNorm::kApart ? " apart" : "");
            const auto as_float = [&](const std::string& name) {
              const auto& values = reference.at(name);
              return std::vector<float>(values.begin(), values.end());
            };
            const ValueSums& sums = got.values.at(node.name);
            expect_equal(sums, test::channel_sums(as_float(node.name), kSamples, node.shape, 0.0F), what);
            EXPECT_EQ(sums.z_sum.empty(), !moments || !(step.node.is<Conv2dAttrs>() || step.node.is<LinearAttrs>())) << what;
            if (sums.z_sum.empty()) continue;
            const auto z = test::channel_sums(as_float(model.graph.node(step.preactivation).name), kSamples, node.shape, 0.0F);
            expect_sums(sums.z_sum, z.sum, z.abs_sum, what + " z");
            expect_sums(sums.z_sum_sq, z.sum_sq, z.sum_sq, what + " z squares");
          }
        }
    }
  }
}

/// The tap `conv` watches the raw convolution, before batch norm, by any of its step's names.
TEST(Statistics, TheConvTapWatchesTheRawConvolution) {
  const TinyOptions tiny = test::tiny_integer_options();
  const Model model = test::tiny_resnet(tiny);
  const auto pixels = test::tiny_pixels(tiny.input, 5, 24, true);
  const auto reference = test::run_reference(model, pixels, 5);
  const FusedGraph fused = fuse(model.graph);
  for (const bool by_output : {true, false}) {
    SessionOptions options;
    options.batch = 3;
    options.probes.tap = Tap::kConv;
    const auto name_in = [&](const FusedNode& step) { return by_output ? model.graph.node(step.output).name : step.node.name; };
    for (const FusedNode& step : fused.steps) {
      if (step.node.is<Conv2dAttrs>()) options.probes.values[name_in(step)] = kStored;
    }
    Session session(model, options);
    const auto logits = run_all(session, pixels, 5, 3);
    EXPECT_EQ(test::compare(logits, reference.logits(), 0).count, 0);
    for (const FusedNode& step : fused.steps) {
      if (!step.node.is<Conv2dAttrs>()) continue;
      const auto& raw = reference.at(step.node.name);
      const std::vector<float> values(raw.begin(), raw.end());
      expect_equal(session.statistics().values.at(name_in(step)), test::channel_sums(values, 5, step.node.shape, 0.0F),
                   step.node.name);
    }
  }
}

TEST(Statistics, ShardsMergeToTheWholeAndResetForgets) {
  const TinyOptions tiny = test::tiny_integer_options();
  const Model model = test::tiny_resnet(tiny);
  const auto pixels = test::tiny_pixels(tiny.input, 8, 25, true);
  const auto each = static_cast<std::ptrdiff_t>(tiny.input.elements());
  SessionOptions options;
  options.batch = 4;
  options.winograd = Winograd::k2x2;  // exact on integers, so that the order of sums cannot show
  options.probes = watch_all(model, kActivity);
  Session session(model, options);
  (void)run_all(session, pixels, 8, 4);
  const Statistics whole = session.statistics();
  const auto part = [&](int64_t first, int64_t count) {
    session.reset_statistics();
    (void)run_all(session, {pixels.begin() + first * each, pixels.begin() + (first + count) * each}, count, 4);
    return session.statistics();
  };
  Statistics merged = part(0, 5);
  merged.merge(part(5, 3));
  EXPECT_EQ(merged.samples, whole.samples);
  EXPECT_EQ(merged.kernels, whole.kernels);
  for (const auto& [name, sums] : whole.values) {
    const ValueSums& m = merged.values.at(name);
    EXPECT_EQ(m.sum, sums.sum) << name;
    EXPECT_EQ(m.sum_sq, sums.sum_sq) << name;
    EXPECT_EQ(m.active, sums.active) << name;
    EXPECT_EQ(m.count, sums.count) << name;
    EXPECT_TRUE(m.abs_sum.empty() && m.max.empty() && m.fired.empty()) << name;
  }
  for (const auto& [name, norms] : whole.tap_norms) EXPECT_EQ(merged.tap_norms.at(name).norm_sq, norms.norm_sq) << name;
  session.reset_statistics();
  EXPECT_EQ(session.statistics().samples, 0);
  EXPECT_EQ(session.statistics().values.begin()->second.sum[0], 0.0);
}

/// Watching changes no result.
TEST(Statistics, WatchingLeavesTheLogitsAlone) {
  const Model model = test::tiny_resnet(odd_network());
  const auto pixels = test::tiny_pixels(odd_network().input, 6, 26);
  SessionOptions options;
  options.batch = 6;
  Session plain(model, options);
  options.probes = watch_all(model, kStored);
  Session watched(model, options);
  const auto want = run_all(plain, pixels, 6, 6);
  const auto m = test::compare(run_all(watched, pixels, 6, 6), want, 1e-5 * test::largest({want.begin(), want.end()}));
  EXPECT_EQ(m.count, 0) << m.message();
  if (!test::why_no_bf16().empty()) return;
  options.precision = Precision::kBf16;  // one kernel either way, and one rounding: to the bit
  Session watched_narrow(model, options);
  options.probes = {};
  Session plain_narrow(model, options);
  EXPECT_EQ(run_all(watched_narrow, pixels, 6, 6), run_all(plain_narrow, pixels, 6, 6));
}

}  // namespace
}  // namespace elek
