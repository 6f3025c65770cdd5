// SPDX-License-Identifier: Apache-2.0
// Sessions in bf16 on the CPU. Each step is compared with the double reference on the values that it really read, within a
// bound derived from the roundings (bf16: u = 2^-8, of weights and stored values; sums in f32). If every value is an integer
// that bf16 holds, results must be exact. Whole networks must stay within the sum of independent roundings. Bytes are halved.
// The kernels: tests/kernels/bf16_test.cpp; sums of stored values: tests/golden/statistics_test.cpp.
#include <gtest/gtest.h>

#include <cstdio>

#include "core/bfloat16.h"
#include "elek/data.h"
#include "elek/session.h"
#include "engine/estimate.h"
#include "graph/passes.h"
#include "tests/golden/session_support.h"
#include "tests/golden/shipped.h"
#include "tests/support/compare.h"

namespace elek {
namespace {

using test::Kind;
using test::kinds;
using test::run_all;

constexpr double kU16 = 0x1p-8;   // rounding to bf16: |error| <= kU16 * |value|
constexpr double kU32 = 0x1p-24;  // rounding to f32

class Bf16 : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::why_no_bf16(); !why.empty()) GTEST_SKIP() << why;
  }
};

SessionOptions bf16_batch(int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  options.precision = Precision::kBf16;
  return options;
}

std::vector<double> widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

template <typename T>
std::vector<T> magnitudes(std::vector<T> values) {
  for (T& v : values) v = std::fabs(v);
  return values;
}

/// A step's exact result from stored inputs, and how far a bf16 kernel's result may be from it.
struct Expected {
  std::vector<double> value, bound;
};

/// The error of a sum of n products of stored values and rounded weights. With t the sum of the products' magnitudes, rounding
/// weights costs at most kU16 * t; adding in f32 (a pair of products rounds twice) costs 2 (n + 2) kU32 of the rounded terms.
Expected product(const Model& model, const FusedNode& step, int64_t samples, const std::vector<float>& x) {
  const ConvWeights w = conv_weights(model, step, BatchNorm::kFold, host_resource());
  const std::vector<float> weight(w.weight.f32().begin(), w.weight.f32().end()), bias(w.bias.f32().begin(), w.bias.f32().end());
  const bool linear = step.node.is<LinearAttrs>();
  const Conv2dAttrs attrs = linear ? Conv2dAttrs{.out_channels = step.node.as<LinearAttrs>().out_features,
                                                 .kernel = 1,
                                                 .stride = 1,
                                                 .padding = 0,
                                                 .groups = 1,
                                                 .bias = true}
                                   : step.node.as<Conv2dAttrs>();
  const ImageShape& input = model.graph.node(step.input).shape;
  Expected e;
  e.value = test::reference_conv2d(widened(x), samples, input, attrs, weight, bias);
  const auto terms =
      test::reference_conv2d(widened(magnitudes(x)), samples, input, attrs, magnitudes(weight), magnitudes(bias));
  const int64_t products = input.channels / attrs.groups * attrs.kernel.area();
  const auto n = static_cast<double>(products);
  for (const double t : terms) e.bound.push_back(t * (kU16 + 2 * (n + 2) * kU32 * (1 + kU16)));
  return e;
}

/// One step of the fused graph on the values that it read.
Expected expected(const Model& model, const FusedNode& step, int64_t samples, const Session& session) {
  const auto stored = [&](ValueId value) { return session.stored_value(model.graph.node(value).name); };
  const std::vector<float> x = stored(step.input);
  Expected e;
  if (step.node.is<Conv2dAttrs>() || step.node.is<LinearAttrs>()) {
    e = product(model, step, samples, x);
  } else {
    const std::vector<double> wide = widened(x);
    e.value = test::reference_node(step.node, samples, model.graph.node(step.input).shape, {wide});
    // Averages of at most 7x7 values in f32; maxima and copies are exact.
    e.bound.assign(e.value.size(), 51 * kU32 * test::largest(wide));
  }
  if (step.residual) {
    const std::vector<float> r = stored(*step.residual);
    for (size_t i = 0; i < r.size(); ++i) {
      e.value[i] += static_cast<double>(r[i]);
      e.bound[i] += 2 * kU32 * (std::fabs(e.value[i]) + std::fabs(static_cast<double>(r[i])));
    }
  }
  const bool answer = step.node.is<LinearAttrs>() && step.output == fuse(model.graph).output;
  for (size_t i = 0; i < e.value.size(); ++i) {
    if (step.activation.is_relu()) e.value[i] = std::max(e.value[i], 0.0);  // does not increase differences
    if (!answer) e.bound[i] += kU16 * (std::fabs(e.value[i]) + e.bound[i]);
  }
  return e;
}

TEST_F(Bf16, EveryStepIsWithinTheBoundOfItsRoundings) {
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const auto pixels = test::tiny_pixels(kind.tiny.input, 5, 4);
    for (const int64_t batch : {int64_t{6}, int64_t{5}}) {
      SessionOptions options = bf16_batch(batch);
      options.keep_values = true;
      Session session(model, options);
      (void)run_all(session, pixels, 5, batch);
      const std::string input = model.graph.node(fuse(model.graph).input).name;
      const auto exact = test::run_reference(model, pixels, 5).at(input);
      const auto preprocessed = test::compare(session.stored_value(input), exact, 1e-6, kU16);
      EXPECT_EQ(preprocessed.count, 0) << preprocessed.message();
      for (const FusedNode& step : fuse(model.graph).steps) {
        const std::string& name = model.graph.node(step.output).name;
        const Expected want = expected(model, step, 5, session);
        const std::vector<float> got = session.stored_value(name);
        ASSERT_EQ(got.size(), want.value.size()) << name;
        for (size_t i = 0; i < got.size(); ++i) {
          const bool close = std::fabs(static_cast<double>(got[i]) - want.value[i]) <= want.bound[i];
          ASSERT_TRUE(close) << kind.name << " " << name << "[" << i << "]: got " << got[i] << ", want " << want.value[i]
                             << " +- " << want.bound[i];
        }
      }
    }
  }
}

bool fits(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](double v) { return static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(v)))) == v; });
}

TEST_F(Bf16, IntegerNetworksAreExact) {
  test::TinyOptions tiny = test::tiny_integer_options();
  tiny.blocks = 1, tiny.widths = {7, 13};  // deeper ones grow beyond 256
  const auto pixels = test::tiny_pixels(tiny.input, 5, 3, true);
  Model model;
  test::ReferenceValues reference;
  const auto holds_all = [&] {  // that is stored in bf16: the logits stay f32
    const auto& steps = fuse(model.graph).steps;
    return std::all_of(steps.begin(), steps.end(), [&](const FusedNode& step) {
      const std::string& name = model.graph.node(step.output).name;
      return name == reference.output || fits(reference.at(name));
    });
  };
  do {
    ASSERT_LE(++tiny.seed, 100U) << "no network all of whose values bf16 holds";
    model = test::tiny_resnet(tiny);
    reference = test::run_reference(model, pixels, 5);
  } while (!holds_all());
  EXPECT_GT(test::largest(reference.logits()), 8);
  for (const auto& [batch, micro] : std::vector<std::array<int64_t, 2>>{{5, 0}, {3, 0}, {1, 0}, {5, 2}}) {
    SessionOptions options = bf16_batch(batch);
    options.micro_batch = micro;
    Session session(model, options);
    const auto m = test::compare(run_all(session, pixels, 5, batch), reference.logits(), 0);
    EXPECT_EQ(m.count, 0) << "batch " << batch << " micro " << micro << ": " << m.message();
    options.probes.values[test::stored_names(model)[3]] = kActivity | kMoments;  // the epilogue's way
    Session watched(model, options);
    EXPECT_EQ(run_all(watched, pixels, 5, batch), run_all(session, pixels, 5, batch)) << "batch " << batch;
  }
}

/// Standard deviation of the rounding errors in a network's values, as a share of their size. Each layer has two independent
/// roundings (weights, stored values), each uniform, with deviation at most kU16 / sqrt(3). Sums of independent terms keep the
/// share.
double rounding_share(const Graph& graph) {
  int64_t layers = 1;  // the input
  for (const Node& node : graph.nodes()) layers += node.is<Conv2dAttrs>() || node.is<LinearAttrs>() ? 1 : 0;
  return kU16 / std::sqrt(3.0) * std::sqrt(2.0 * static_cast<double>(layers));
}

TEST_F(Bf16, LogitsAreNearTheOracleForEveryBatchAndThreadCount) {
  constexpr int64_t kSamples = 9;
  std::vector<std::pair<std::string, Model>> models;
  for (const Kind& kind : kinds()) models.emplace_back(kind.name, test::tiny_resnet(kind.tiny));
  models.emplace_back("standalone", test::standalone_model());
  for (const auto& [name, model] : models) {
    const auto pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 5);
    const auto want = test::run_reference(model, pixels, kSamples).logits();
    const double tolerance = 6 * rounding_share(model.graph) * test::largest(want);
    for (const auto& [batch, micro, threads] :
         std::vector<std::array<int64_t, 3>>{{9, 0, 0}, {4, 0, 1}, {7, 3, 2}, {1, 1, 2}, {9, 9, 3}}) {
      for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
        SessionOptions options = bf16_batch(batch);
        options.micro_batch = micro;
        options.threads = static_cast<int>(threads);
        options.batch_norm = batch_norm;
        Session session(model, options);
        const auto m = test::compare(run_all(session, pixels, kSamples, batch), want, tolerance);
        EXPECT_EQ(m.count, 0) << name << " batch " << batch << " micro " << micro << ": " << m.message();
      }
    }
  }
}

/// Re-estimation: the first layer's z is the same in both precisions where pixels, weights and sums are integers.
TEST_F(Bf16, BatchMomentsAreTakenBeforeAnythingIsRounded) {
  const test::TinyOptions tiny = test::tiny_integer_options();
  const Model model = test::tiny_resnet(tiny);
  const auto pixels = test::tiny_pixels(tiny.input, 8, 9, true);
  const auto moments = [&](Precision precision) {
    SessionOptions options = bf16_batch(5);
    options.precision = precision;
    options.batch_norm = BatchNorm::kApart;
    options.batch_moments = true;
    Session session(model, options);
    (void)run_all(session, pixels, 8, 5);
    return session.batch_moments();
  };
  const auto got = moments(Precision::kBf16), want = moments(Precision::kF32);
  ASSERT_EQ(got.size(), want.size());
  EXPECT_EQ(got.front().mean, want.front().mean);
  for (size_t c = 0; c < got.front().variance.size(); ++c) {
    // Exact terms, but each layout has its own order of f32 sums: 20 * 2^-24 (batch_moments.h) in either.
    EXPECT_NEAR(got.front().variance[c], want.front().variance[c], 40 * kU32 * want.front().variance[c]) << c;
  }
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].batches, 2);
}

TEST_F(Bf16, ActivationsTakeHalfTheBytes) {
  const Model model = test::shipped_model();
  for (const bool watched : {false, true}) {
    SessionOptions options = bf16_batch(8);
    options.micro_batch = 8;
    if (watched) options.probes.values[test::stored_names(model)[2]] = kActivity;
    const SessionEstimate narrow = estimate_memory(model, options);
    options.precision = Precision::kF32;
    const SessionEstimate wide = estimate_memory(model, options);
    ASSERT_EQ(narrow.program.tensors.size(), wide.program.tensors.size());
    for (size_t i = 0; i < wide.program.tensors.size(); ++i) {
      const ProgramTensor& t = narrow.program.tensors[i];
      const bool answer = t.value == model.graph.output();
      EXPECT_EQ(t.dtype, answer ? DType::kF32 : DType::kBF16) << t.name;
      EXPECT_EQ(t.bytes * (answer ? 1 : 2), wide.program.tensors[i].bytes) << t.name;
    }
    EXPECT_EQ(narrow.plan.arena_bytes, narrow.plan.lower_bound_bytes);
    EXPECT_LT(narrow.plan.arena_bytes, wide.plan.arena_bytes);
    const Session session(test::shipped_model(), options);
  }
}

/// The shipped network beside f32 on shipped test images. The number of images that change their class is predicted from f32's
/// margins: two logits with errors of deviation s change order with probability erfc(margin / 2s) / 2.
TEST_F(Bf16, TheShippedNetworkKeepsItsAccuracy) {
  const auto logits_of = [](Precision precision, std::vector<float>& logits, std::vector<int32_t>& labels) {
    SessionOptions options = bf16_batch(50);
    options.precision = precision;
    Session session(test::shipped_model(), options);
    const auto data = parse_data("idx:" + test::kShippedFolder + ":test[0:2000]", session.graph().input_shape());
    const auto source = make_loader(data, {});
    return for_each_batch(session, *source, 0, {}, [&](const Slot& slot, std::span<const float> made) {
      logits.insert(logits.end(), made.begin(), made.end());
      labels.insert(labels.end(), slot.labels, slot.labels + slot.count);
    });
  };
  std::vector<float> got, want;
  std::vector<int32_t> labels, again;
  ASSERT_EQ(logits_of(Precision::kBf16, got, labels), 2000);
  ASSERT_EQ(logits_of(Precision::kF32, want, again), 2000);
  ASSERT_EQ(labels, again);
  ASSERT_EQ(got.size(), want.size());
  double difference_sq = 0, size_sq = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference_sq += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
    size_sq += std::pow(static_cast<double>(want[i]), 2);
  }
  const double share = std::sqrt(difference_sq / size_sq), foretold_share = rounding_share(test::shipped_model().graph);
  EXPECT_TRUE(share <= foretold_share) << share << " of the logits' size, foretold " << foretold_share;
  EXPECT_GT(share, 1e-5) << "these are f32's own logits";
  const double deviation = foretold_share * std::sqrt(size_sq / static_cast<double>(want.size()));
  const size_t classes = want.size() / labels.size();
  double foretold = 0;
  int64_t changed = 0, correct = 0, correct_f32 = 0;
  for (size_t n = 0; n < labels.size(); ++n) {
    const auto row = [&](const std::vector<float>& all) { return std::span(all).subspan(n * classes, classes); };
    const auto best = [](std::span<const float> r) { return std::max_element(r.begin(), r.end()) - r.begin(); };
    std::vector<float> sorted(row(want).begin(), row(want).end());
    std::sort(sorted.rbegin(), sorted.rend());
    foretold += std::erfc(static_cast<double>(sorted[0] - sorted[1]) / (2 * deviation)) / 2;
    changed += best(row(got)) != best(row(want)) ? 1 : 0;
    correct += best(row(got)) == labels[n] ? 1 : 0;
    correct_f32 += best(row(want)) == labels[n] ? 1 : 0;
  }
  std::printf(
      "[   INFO   ] bf16: %ld of 2000 images change their class (foretold: at most %.1f), %ld correct, in f32 %ld; "
      "logits differ by %.2e of their size (foretold: at most %.2e)\n",
      static_cast<long>(changed), foretold, static_cast<long>(correct), static_cast<long>(correct_f32), share, foretold_share);
  EXPECT_LE(static_cast<double>(changed), foretold + 4 * std::sqrt(foretold));
  EXPECT_LE(std::abs(correct - correct_f32), changed);
}

TEST(Precision, TheCpuComputesInF32AndBf16Only) {
  const Model model = test::tiny_resnet();
  for (const Precision precision : {Precision::kTf32, Precision::kF16}) {
    SessionOptions options = bf16_batch(2);
    options.precision = precision;
    EXPECT_THROW(Session(model, options), UsageError) << name_of(precision);
  }
}

}  // namespace
}  // namespace elek
