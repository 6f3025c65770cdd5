// SPDX-License-Identifier: Apache-2.0
// Sessions compared with the double reference (tests/support/reference.h): every kind of node and block, whole and partial
// batches, forced micro-batches, one and more threads, batch norm folded and unfused, re-estimated moments. Also: a session
// that cannot be built leaves nothing behind. Tolerance: f32 rounding through the depth of these networks, 2e-5 of the largest
// logit (the project's bound for whole networks). Integer networks are exact, so there it is 0.
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/estimate.h"
#include "plan/program.h"
#include "tests/golden/session_support.h"
#include "tests/support/compare.h"
#include "tests/support/faulty.h"

namespace elek {
namespace {

using test::Kind;
using test::kinds;
using test::run_all;
using test::TinyOptions;

constexpr double kTolerance = 2e-5;

SessionOptions batch_of(int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  return options;
}

TEST(Session, LogitsEqualTheOracle) {
  constexpr int64_t kSamples = 9;
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const auto pixels = test::tiny_pixels(kind.tiny.input, kSamples, 5);
    const auto want = test::run_reference(model, pixels, kSamples).logits();
    for (const auto& [batch, micro, threads] :
         std::vector<std::array<int64_t, 3>>{{9, 0, 0}, {4, 0, 1}, {7, 3, 2}, {1, 1, 2}, {9, 9, 3}}) {
      SessionOptions options = batch_of(batch);
      options.micro_batch = micro;
      options.threads = static_cast<int>(threads);
      for (const Winograd winograd : {Winograd::kAuto, Winograd::kOff, Winograd::k2x2, Winograd::k4x4}) {
        options.winograd = winograd;
        Session session(model, options);
        const auto got = run_all(session, pixels, kSamples, batch);
        const auto m = test::compare(got, want, kTolerance * test::largest(want));
        EXPECT_EQ(m.count, 0) << kind.name << " batch " << batch << " micro " << micro << " winograd "
                              << static_cast<int>(winograd) << ": " << m.message();
      }
    }
  }
}

TEST(Session, IntegerNetworksAreExact) {
  const TinyOptions tiny = test::tiny_integer_options();
  const Model model = test::tiny_resnet(tiny);
  const auto pixels = test::tiny_pixels(tiny.input, 5, 3, true);
  const auto want = test::run_reference(model, pixels, 5).logits();
  // F(4x4) multiplies by powers of sqrt(2) and cannot be exact; F(2x2) multiplies by 1/2 and 1/4 only.
  for (const Winograd winograd : {Winograd::kOff, Winograd::k2x2}) {
    SessionOptions options = batch_of(3);
    options.winograd = winograd;
    Session session(model, options);
    const auto m = test::compare(run_all(session, pixels, 5, 3), want, 0);
    EXPECT_EQ(m.count, 0) << "winograd " << static_cast<int>(winograd) << ": " << m.message();
  }
}

TEST(Session, WinogradIsChosenByRuleAndNeverWhereExactnessIsAskedFor) {
  const Model model = test::tiny_resnet(kinds()[0].tiny);
  const auto winograds = [&](const SessionOptions& options) {
    int64_t count = 0;
    const Session session(model, options);
    for (const ProgramStep& step : session.program().steps) count += step.kernel.starts_with("winograd") ? 1 : 0;
    return count;
  };
  SessionOptions options = batch_of(4);
  EXPECT_GT(winograds(options), 0);
  options.deterministic = true;
  EXPECT_EQ(winograds(options), 0);
  options.deterministic = false;
  options.winograd = Winograd::kOff;
  EXPECT_EQ(winograds(options), 0);
  options.winograd = Winograd::kAuto;
  options.batch_norm = BatchNorm::kApart;
  EXPECT_EQ(winograds(options), 0);
}

TEST(Session, BatchNormApartEqualsTheOracle) {
  constexpr int64_t kSamples = 7;
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const auto pixels = test::tiny_pixels(kind.tiny.input, kSamples, 6);
    const auto want = test::run_reference(model, pixels, kSamples).logits();
    for (const Tap tap : {Tap::kRelu, Tap::kConv}) {
      SessionOptions options = batch_of(3);
      options.batch_norm = BatchNorm::kApart;
      options.probes.tap = tap;
      options.probes.values[test::stored_names(model)[1]] = kActivity;
      Session session(model, options);
      const auto m = test::compare(run_all(session, pixels, kSamples, 3), want, kTolerance * test::largest(want));
      EXPECT_EQ(m.count, 0) << kind.name << ": " << m.message();
    }
  }
}

TEST(Session, BatchMomentsEqualTheOracle) {
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const auto pixels = test::tiny_pixels(kind.tiny.input, 8, 9);
    const auto each = static_cast<size_t>(kind.tiny.input.elements());
    SessionOptions options = batch_of(5);
    options.batch_norm = BatchNorm::kApart;
    options.batch_moments = true;
    Session session(model, options);
    const auto got = run_all(session, pixels, 8, 5);  // a whole batch of 5 and a partial one of 3
    const std::vector<uint8_t> first(pixels.begin(), pixels.begin() + static_cast<std::ptrdiff_t>(5 * each));
    const std::vector<uint8_t> second(pixels.begin() + static_cast<std::ptrdiff_t>(5 * each), pixels.end());
    const auto a = test::run_reference(model, first, 5, {.batch_statistics = true});
    const auto b = test::run_reference(model, second, 3, {.batch_statistics = true});
    std::vector<double> want = a.logits();
    want.insert(want.end(), b.logits().begin(), b.logits().end());
    // Normalising by a batch of few values amplifies rounding by 1/deviation: ten times the plain tolerance.
    const auto m = test::compare(got, want, 10 * kTolerance * test::largest(want));
    EXPECT_EQ(m.count, 0) << kind.name << ": " << m.message();
    const auto moments = session.batch_moments();
    ASSERT_EQ(moments.size(), a.moments.size()) << kind.name;
    for (const BatchMoments& got_moments : moments) {
      const auto& ma = a.moments.at(got_moments.batch_norm);
      const auto& mb = b.moments.at(got_moments.batch_norm);
      EXPECT_EQ(got_moments.batches, 2);
      std::vector<double> mean, variance;
      for (size_t c = 0; c < ma.mean.size(); ++c) {
        mean.push_back((ma.mean[c] + mb.mean[c]) / 2);
        variance.push_back((ma.variance[c] + mb.variance[c]) / 2);
      }
      const auto mm = test::compare(got_moments.mean, mean, 10 * kTolerance * std::max(1.0, test::largest(mean)));
      EXPECT_EQ(mm.count, 0) << kind.name << " mean of " << got_moments.batch_norm << ": " << mm.message();
      const auto mv = test::compare(got_moments.variance, variance, 10 * kTolerance * std::max(1.0, test::largest(variance)));
      EXPECT_EQ(mv.count, 0) << kind.name << " variance of " << got_moments.batch_norm << ": " << mv.message();
    }
  }
}

/// A channel that is constant over a batch keeps the model's statistics, in the forward pass and in the result.
TEST(Session, ConstantChannelsKeepTheirStatistics) {
  Model model = test::tiny_resnet();
  const std::string conv = test::kernel_names(model)[0];
  std::vector<float> weights(model.parameter(conv + ".weight").f32().begin(), model.parameter(conv + ".weight").f32().end());
  const Shape shape = model.parameter(conv + ".weight").shape();
  const auto row = static_cast<size_t>(shape[1] * shape[2] * shape[3]);
  std::fill_n(weights.begin() + static_cast<std::ptrdiff_t>(2 * row), row, 0.0F);  // channel 2 is 0 everywhere
  model.parameters[conv + ".weight"] = test::tensor_of(weights, shape);
  SessionOptions options = batch_of(4);
  options.batch_norm = BatchNorm::kApart;
  options.batch_moments = true;
  Session session(model, options);
  (void)run_all(session, test::tiny_pixels(model.graph.input_shape(), 8, 2), 8, 4);
  const BatchMoments moments = session.batch_moments().front();
  EXPECT_EQ(moments.mean[2], static_cast<double>(model.parameter(moments.batch_norm + ".running_mean").f32()[2]));
  EXPECT_EQ(moments.variance[2], static_cast<double>(model.parameter(moments.batch_norm + ".running_var").f32()[2]));
  EXPECT_NE(moments.variance[1], static_cast<double>(model.parameter(moments.batch_norm + ".running_var").f32()[1]));
}

TEST(Session, KeptValuesEqualTheOracle) {
  const Model model = test::tiny_resnet();
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 5, 4);
  const auto want = test::run_reference(model, pixels, 5);
  SessionOptions options = batch_of(6);
  options.keep_values = true;
  Session session(model, options);
  (void)run_all(session, pixels, 5, 6);
  for (const std::string& name : test::stored_names(model)) {
    const auto& value = want.at(name);
    const auto m = test::compare(session.stored_value(name), value, kTolerance * std::max(1.0, test::largest(value)));
    EXPECT_EQ(m.count, 0) << name << ": " << m.message();
  }
  EXPECT_THROW((void)session.stored_value("no such value"), ContractError);
}

TEST(Session, StandaloneNodesEqualTheOracle) {
  const Model model = test::standalone_model();
  const auto pixels = test::tiny_pixels({3, 6, 5}, 5, 8);
  const auto want = test::run_reference(model, pixels, 5).logits();
  for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
    SessionOptions options = batch_of(5);
    options.batch_norm = batch_norm;
    options.micro_batch = 2;
    Session session(model, options);
    const auto m = test::compare(run_all(session, pixels, 5, 5), want, kTolerance * test::largest(want));
    EXPECT_EQ(m.count, 0) << m.message();
  }
}

/// relu(conv(x) + x): the sum may not be in place, because the convolution still reads the value it would overwrite.
TEST(Session, AResidualThatTheConvolutionReadsIsNotOverwritten) {
  Model model;
  Graph& g = model.graph;
  const ValueId x = g.add("input", InputAttrs{{3, 8, 8}}, {});
  const auto conv3 = Conv2dAttrs{.out_channels = 16, .kernel = 3, .stride = 1, .padding = 1, .groups = 1, .bias = false};
  const ValueId stem = g.add("stem", conv3, {x});
  const ValueId conv = g.add("conv", conv3, {stem});
  const ValueId sum = g.add("sum", AddAttrs{}, {conv, stem});
  g.add("out", ReluAttrs{}, {sum});
  model.parameters = test::tiny_parameters(g, 12);
  model.preprocessing = {{0.4F, 0.5F, 0.6F}, {0.2F, 0.3F, 0.25F}};
  const auto pixels = test::tiny_pixels({3, 8, 8}, 3, 8);
  const auto want = test::run_reference(model, pixels, 3).logits();
  Session session(model, batch_of(3));
  const auto m = test::compare(run_all(session, pixels, 3, 3), want, kTolerance * test::largest(want));
  EXPECT_EQ(m.count, 0) << m.message();
}

TEST(Session, RunsAreRepeatable) {
  const Model model = test::tiny_resnet();
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 6, 4);
  Session session(model, batch_of(4));
  const auto once = run_all(session, pixels, 6, 4);
  EXPECT_EQ(run_all(session, pixels, 6, 4), once);
  Session moved = std::move(session);
  EXPECT_EQ(run_all(moved, pixels, 6, 4), once);
}

TEST(Session, RefusesWhatItCannotDo) {
  const Model model = test::tiny_resnet();
  SessionOptions options = batch_of(2);
  Session session(model, options);
  Slot slot = session.slots()[0];
  for (const int64_t count : {int64_t{0}, int64_t{3}}) {
    slot.count = count;
    EXPECT_THROW((void)session.run(slot), ContractError) << count;
  }
  EXPECT_THROW((void)session.batch_moments(), ContractError);
  const auto refused = [&](auto change) {
    SessionOptions changed = options;
    change(changed);
    EXPECT_THROW(Session(model, changed), ContractError);
  };
  refused([](SessionOptions& o) { o.batch = 0; });
  refused([](SessionOptions& o) { o.batch_moments = true; });
  refused([](SessionOptions& o) { o.probes.values["nothing"] = kActivity; });
  refused([](SessionOptions& o) { o.probes.values["conv1"] = kActivity; });  // fused into the step that stores its relu
  refused([](SessionOptions& o) { o.probes.values["input"] = kMoments; });
  refused([](SessionOptions& o) { o.probes.tap_norms = {"input"}; });
  options.device.kind = DeviceKind::kCuda;
  EXPECT_THROW(Session(model, options), DeviceError);
}

/// No kind of device replaces another: a device without a backend is refused by every function that takes a device.
TEST(Session, RefusesADeviceOfUnknownKind) {
  const Device unknown{static_cast<DeviceKind>(99), 0};
  SessionOptions options = batch_of(2);
  options.device = unknown;
  EXPECT_THROW(Session(test::tiny_resnet(), options), ContractError);
  EXPECT_THROW((void)estimate_memory(test::tiny_resnet(), options), ContractError);
  EXPECT_THROW((void)measure_peaks(options), ContractError);
  EXPECT_THROW((void)default_memory(unknown), ContractError);
  EXPECT_THROW((void)stream_order(unknown), ContractError);
  EXPECT_THROW((void)why_not(unknown), ContractError);
  EXPECT_THROW((void)built_with(unknown.kind), ContractError);
  EXPECT_THROW((void)starts_from_values(unknown), ContractError);
  EXPECT_THROW(check_precision(unknown, Precision::kF32), ContractError);
  EXPECT_EQ(to_string(unknown), "of unknown kind 99");
  EXPECT_FALSE(is_host(unknown));
}

/// Fails the k-th allocation of building a session, for every k: OutOfMemory, nothing leaked, and the next one works.
TEST(SessionFault, EveryAllocation) {
  const Model model = test::tiny_resnet();
  SessionOptions options = batch_of(3);
  options.probes.values[test::stored_names(model)[1]] = kActivity;
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 3, 4);
  Session plain(model, options);
  const auto want = run_all(plain, pixels, 3, 3);
  int64_t k = 0;
  for (;; ++k) {
    test::Faulty memory;
    options.memory = &memory;
    memory.fail_at(k);
    bool built = false;
    try {
      Session session(model, options);
      built = true;
      EXPECT_EQ(run_all(session, pixels, 3, 3), want);
    } catch (const OutOfMemory&) {
      EXPECT_EQ(memory.in_use_bytes(), 0U) << "k " << k << ": " << memory.leaks();
      memory.heal();
      Session session(model, options);
      EXPECT_EQ(run_all(session, pixels, 3, 3), want) << "k " << k;
    }
    EXPECT_EQ(memory.in_use_bytes(), 0U) << "k " << k << ": " << memory.leaks();
    EXPECT_TRUE(memory.misuse().empty());
    if (built) break;
  }
  EXPECT_GE(k, 4);  // weights, arena, statistics, staging
}

}  // namespace
}  // namespace elek
