// SPDX-License-Identifier: Apache-2.0
// Sessions on the GPU compared with the double reference: logits of small networks in every precision, whole and partial
// batches; statistics compared with sums over the session's own stored values; graph replay bit-equal to eager; no allocation
// while running.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "core/sums.h"
#include "elek/memory.h"
#include "graph/passes.h"
#include "tests/golden/session_support.h"
#include "tests/golden/window_models.h"
#include "tests/gpu/gpu.h"
#include "tests/support/activation.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

SessionOptions options_for(Precision precision, int64_t batch) {
  SessionOptions options;
  options.device = kGpu;
  options.precision = precision;
  options.batch = batch;
  return options;
}

/// Watches every stored value with these sums; those of z only if there is a z.
Probes watch_all(const Model& model, uint32_t sums) {
  Probes probes;
  for (const FusedNode& step : fuse(model.graph).steps) {
    if (step.node.is<Conv2dAttrs>()) probes.values[model.graph.node(step.output).name] = sums;
  }
  probes.threshold = 0.25F;
  return probes;
}

double layers_of(const Model& model) {
  double layers = 0;
  for (const Node& node : model.graph.nodes()) layers += node.is<Conv2dAttrs>() || node.is<LinearAttrs>() ? 1 : 0;
  return layers;
}

class Precisions : public ::testing::TestWithParam<Precision> {};

TEST_P(Precisions, LogitsAreTheOraclesForWholeAndPartialBatches) {
  ELEK_NEEDS_GPU();
  constexpr int64_t kSamples = 11;
  for (const TinyOptions& tiny : {TinyOptions{}, tiny_bottleneck_options()}) {
    const Model model = tiny_resnet(tiny);
    const auto pixels = tiny_pixels(tiny.input, kSamples, 5);
    const auto want = run_reference(model, pixels, kSamples);
    const double tolerance = logit_tolerance(GetParam(), layers_of(model)) * largest(want.logits());
    Session session(model, options_for(GetParam(), 4));
    for (const int64_t batch : {int64_t{4}, int64_t{3}, int64_t{1}}) {
      const Mismatch m = compare(run_all(session, pixels, kSamples, batch), want.logits(), tolerance);
      EXPECT_EQ(m.count, 0) << "batch " << batch << ": " << m.message();
    }
  }
}

/// Up to this number, the precision stores and multiplies every integer without rounding.
double largest_exact(Precision precision) { return 1 / roundoff(precision); }

// Integers that the precision holds exactly: no tolerance hides a swapped channel or a lost border. Values grow from layer to
// layer. From the first one that is too large for the type, the network is not exact any more.
TEST_P(Precisions, IntegersAreExact) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny = tiny_integer_options();
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 5, 7, true);
  const auto want = run_reference(model, pixels, 5);
  SessionOptions options = options_for(GetParam(), 5);
  options.keep_values = true;
  Session session(model, options);
  (void)run_all(session, pixels, 5, 5);
  int64_t compared = 0;
  for (const std::string& name : stored_names(model)) {
    const auto& expected = want.at(name);
    if (!(largest(expected) <= largest_exact(GetParam()))) break;
    const Mismatch m = compare(session.stored_value(name), expected, 0.0);
    EXPECT_EQ(m.count, 0) << name << ": " << m.message();
    ++compared;
  }
  EXPECT_GE(compared, 4) << "bf16 holds the first block, the others more";
}

/// The sums that a session reports, against double sums over the values that it stored. f32 partial sums in any order: at most
/// count * 2^-24 of the sum of absolute terms. Counts are exact.
void expect_statistics(const Model& model, SessionOptions options, int64_t samples, const std::vector<uint8_t>& pixels,
                       const ImageShape& input) {
  options.keep_values = true;
  Session session(model, options);
  Slot& slot = session.slots()[0];
  slot.count = samples;
  std::copy_n(pixels.data(), static_cast<size_t>(samples * input.elements()), slot.pixels);
  (void)session.run(slot);
  const Statistics statistics = session.statistics();
  EXPECT_EQ(statistics.samples, samples);
  EXPECT_EQ(statistics.precision, name_of(options.precision));
  for (const auto& [name, sums] : statistics.values) {
    const auto stored = session.stored_value(name);
    const ImageShape& shape = model.graph.node(model.graph.at(name)).shape;
    const ChannelSums want = channel_sums(stored, samples, shape, options.probes.threshold);
    EXPECT_EQ(sums.count, want.count) << name;
    EXPECT_EQ(sums.nonfinite, want.nonfinite) << name;
    const double tolerance = static_cast<double>(want.count) * 0x1p-24;
    for (size_t c = 0; c < want.sum.size(); ++c) {
      EXPECT_NEAR(sums.sum[c], want.sum[c], tolerance * want.abs_sum[c] + 1e-30) << name << " channel " << c;
      EXPECT_NEAR(sums.sum_sq[c], want.sum_sq[c], tolerance * want.sum_sq[c] + 1e-30) << name << " channel " << c;
      EXPECT_EQ(sums.active[c], want.active[c]) << name << " channel " << c;
      if (!sums.max.empty()) {
        EXPECT_EQ(sums.max[c], want.max[c]) << name << " channel " << c;
      }
      if (!sums.abs_sum.empty()) {
        EXPECT_NEAR(sums.abs_sum[c], want.abs_sum[c], tolerance * want.abs_sum[c] + 1e-30) << name;
      }
      if (!sums.fired.empty()) {
        EXPECT_EQ(sums.fired[c], want.fired[c]) << name << " channel " << c;
      }
    }
  }
}

TEST_P(Precisions, StatisticsAreSumsOfWhatWasStored) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 8, 9);
  for (const uint32_t sums :
       {uint32_t{kActivity}, kActivity | kAbsolute | kRange, kActivity | kMoments, kActivity | kPerSample}) {
    for (const bool deterministic : {false, true}) {
      SessionOptions options = options_for(GetParam(), 8);
      options.probes = watch_all(model, sums);
      options.deterministic = deterministic;
      for (const int64_t samples : {int64_t{8}, int64_t{5}}) {
        SCOPED_TRACE("sums " + std::to_string(sums) + (deterministic ? " deterministic" : "") + ", " + std::to_string(samples));
        expect_statistics(model, options, samples, pixels, tiny.input);
      }
    }
  }
}

TEST_P(Precisions, SqueezeAndExcitationIsTheOracles) {
  ELEK_NEEDS_GPU();
  const Model model = squeeze_model();
  const auto pixels = tiny_pixels(model.graph.input_shape(), 5, 5);
  const auto want = run_reference(model, pixels, 5);
  const double tolerance = logit_tolerance(GetParam(), layers_of(model)) * largest(want.logits());
  SessionOptions options = options_for(GetParam(), 3);
  for (const bool watched : {false, true}) {
    if (watched) options.probes.values["scaled"] = kActivity;
    Session session(model, options);
    const Mismatch m = compare(run_all(session, pixels, 5, 3), want.logits(), tolerance);
    EXPECT_EQ(m.count, 0) << m.message();
  }
}

TEST_P(Precisions, WindowsPoolsAndConcatenationsAreTheOracles) {
  ELEK_NEEDS_GPU();
  for (const Model& model : {windows_model(), pools_model(), concat_model()}) {
    const auto pixels = tiny_pixels(model.graph.input_shape(), 5, 5);
    const auto want = run_reference(model, pixels, 5);
    const double tolerance = logit_tolerance(GetParam(), layers_of(model)) * largest(want.logits());
    SessionOptions options = options_for(GetParam(), 3);
    Session session(model, options);
    const Mismatch m = compare(run_all(session, pixels, 5, 3), want.logits(), tolerance);
    EXPECT_EQ(m.count, 0) << m.message();
    options.probes = watch_all(model, kActivity | kAbsolute | kRange);
    expect_statistics(model, options, 3, pixels, model.graph.input_shape());
  }
}

TEST_P(Precisions, OtherActivationsAreTheOracles) {
  ELEK_NEEDS_GPU();
  constexpr int64_t kSamples = 5;
  for (const Attrs& act : other_activations()) {
    SCOPED_TRACE(std::string(op_name(act)));
    const Model model = activation_model(act);
    const auto pixels = tiny_pixels(model.graph.input_shape(), kSamples, 5);
    const auto want = run_reference(model, pixels, kSamples);
    const double tolerance = logit_tolerance(GetParam(), layers_of(model)) * largest(want.logits());
    for (const uint32_t sums : {uint32_t{0}, kActivity | kAbsolute | kRange}) {
      SessionOptions options = options_for(GetParam(), 3);
      if (sums != 0) options.probes = watch_all(model, sums);
      Session session(model, options);
      const Mismatch m = compare(run_all(session, pixels, kSamples, 3), want.logits(), tolerance);
      EXPECT_EQ(m.count, 0) << "sums " << sums << ": " << m.message();
    }
    SessionOptions options = options_for(GetParam(), 4);
    options.probes = watch_all(model, kActivity | kMoments);
    expect_statistics(model, options, 3, pixels, model.graph.input_shape());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Precisions,
                         ::testing::Values(Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

// Sums are added over runs, a reset clears them, and tap norms and batch moments are included.
TEST(GpuStatistics, AddUpAndStartAgain) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 4, 3);
  SessionOptions options = options_for(Precision::kF16, 4);
  options.probes = watch_all(model, kActivity);
  options.probes.tap_norms = kernel_names(model);
  Session session(model, options);
  (void)run_all(session, pixels, 4, 4);
  const Statistics once = session.statistics();
  (void)run_all(session, pixels, 4, 4);
  const Statistics twice = session.statistics();
  for (const auto& [name, sums] : once.values) {
    for (size_t c = 0; c < sums.active.size(); ++c) EXPECT_EQ(twice.values.at(name).active[c], 2 * sums.active[c]) << name;
  }
  ASSERT_EQ(once.tap_norms.size(), options.probes.tap_norms.size());
  for (const auto& [name, norms] : once.tap_norms) {
    for (size_t i = 0; i < norms.norm_sq.size(); ++i)
      EXPECT_EQ(twice.tap_norms.at(name).norm_sq[i], 2 * norms.norm_sq[i]) << name;
  }
  session.reset_statistics();
  EXPECT_EQ(session.statistics().samples, 0);
  for (const auto& [name, sums] : session.statistics().values) EXPECT_THAT(sums.sum, ::testing::Each(0.0)) << name;
}

TEST(GpuMoments, AreTheOracles) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 6, 4);
  ReferenceOptions by_batch;
  by_batch.batch_statistics = true;
  const auto want = run_reference(model, pixels, 6, by_batch);
  SessionOptions options = options_for(Precision::kF32, 6);
  options.batch_norm = BatchNorm::kApart;
  options.batch_moments = true;
  Session session(model, options);
  (void)run_all(session, pixels, 6, 6);
  const auto moments = session.batch_moments();
  ASSERT_EQ(moments.size(), want.moments.size());
  for (const BatchMoments& m : moments) {
    const ReferenceMoments& w = want.moments.at(m.batch_norm);
    for (size_t c = 0; c < w.mean.size(); ++c) {  // f32 activations through all layers before: 2e-5 of their deviation
      EXPECT_NEAR(m.mean[c], w.mean[c], 2e-5 * std::sqrt(w.variance[c]) + 1e-6) << m.batch_norm << " " << c;
      EXPECT_NEAR(m.variance[c], w.variance[c], 1e-4 * w.variance[c] + 1e-7) << m.batch_norm << " " << c;
    }
  }
}

// The recorded pass gives the same bits as the single calls: logits and fixed-order sums.
TEST(GpuGraph, ReplayIsBitEqualToEager) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 4, 3);
  SessionOptions options = options_for(Precision::kF16, 4);
  options.deterministic = true;
  options.probes = watch_all(model, kActivity);
  const auto run = [&](const char* graph) {
    const Environment environment("ELEK_CUDA_GRAPH", graph);
    Session session(model, options);
    auto logits = run_all(session, pixels, 4, 4);
    const auto again = run_all(session, pixels, 4, 4);
    EXPECT_EQ(logits, again) << "the same batch twice";
    return std::make_pair(logits, session.statistics());
  };
  const auto [eager, eager_statistics] = run("0");
  const int64_t warnings = warnings_so_far();
  const auto [replayed, replayed_statistics] = run("1");
  EXPECT_EQ(warnings_so_far(), warnings) << "the pass was not recorded: that run was eager, too";
  EXPECT_EQ(eager, replayed);
  for (const auto& [name, sums] : eager_statistics.values) {
    EXPECT_EQ(sums.sum, replayed_statistics.values.at(name).sum) << name;
    EXPECT_EQ(sums.sum_sq, replayed_statistics.values.at(name).sum_sq) << name;
    EXPECT_EQ(sums.active, replayed_statistics.values.at(name).active) << name;
  }
}

TEST(GpuMemory, NothingIsAllocatedWhileRunningAndEverythingIsGivenBack) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 7, 3);
  Tracker tracker(default_memory(kGpu));
  {
    SessionOptions options = options_for(Precision::kF16, 4);
    options.probes = watch_all(model, kActivity);
    options.memory = &tracker;
    Session session(model, options);
    const auto before = tracker.figures();
    for (int i = 0; i < 3; ++i) (void)run_all(session, pixels, 7, 4);  // whole and partial batches
    (void)session.statistics();
    EXPECT_EQ(tracker.figures().allocations, before.allocations);
    const SessionMemory memory = session.memory();
    EXPECT_EQ(before.live_bytes, memory.weights_bytes + memory.arena_bytes + memory.statistics_bytes + memory.staging_bytes);
  }
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
}

TEST(GpuMemory, RunningOutLeavesNothingBehind) {
  ELEK_NEEDS_GPU();
  const Model model = tiny_resnet({});
  for (const size_t budget : {size_t{1000}, size_t{100000}, size_t{300000}}) {
    Tracker tracker(default_memory(kGpu));
    Limit limit(tracker, budget);
    SessionOptions options = options_for(Precision::kF16, 64);
    options.memory = &limit;
    try {
      Session session(model, options);
    } catch (const OutOfMemory& error) {
      EXPECT_GT(error.figures().requested_bytes, 0U);
    }
    EXPECT_EQ(tracker.figures().live_bytes, 0U) << budget;
  }
}

TEST(GpuMemory, OfTheHostIsRefused) {
  ELEK_NEEDS_GPU();
  SessionOptions options = options_for(Precision::kF32, 1);
  options.memory = &host_resource();
  EXPECT_THROW(Session(tiny_resnet({}), options), ContractError);
}

// NaN is counted and reported, fused and split; a ReLU never removes it.
TEST(GpuNonFinite, IsReported) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  Model model = tiny_resnet(tiny);
  const Tensor& weight = model.parameter("conv1.weight");
  std::vector<float> values(weight.f32().begin(), weight.f32().end());
  values.front() = std::numeric_limits<float>::quiet_NaN();
  model.parameters["conv1.weight"] = tensor_of(values, weight.shape());
  const auto pixels = tiny_pixels(tiny.input, 4, 3);
  for (const bool deterministic : {true, false}) {
    SessionOptions options = options_for(Precision::kF16, 4);
    options.deterministic = deterministic;
    options.probes = watch_all(model, kActivity);
    Session session(model, options);
    (void)run_all(session, pixels, 4, 4);
    int64_t nonfinite = 0;
    for (const auto& [name, sums] : session.statistics().values) nonfinite += sums.nonfinite;
    EXPECT_GT(nonfinite, 0) << (deterministic ? "split" : "fused: cuDNN's ReLU hides NaN, so the backend must not fuse here");
  }
}

// Two sessions side by side, on one device or two, in threads of their own.
TEST(GpuDevices, SessionsDoNotDisturbEachOther) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 4, 3);
  std::vector<Device> devices{kGpu, kGpu};
  if (const Device second{DeviceKind::kCuda, 1}; why_not(second).empty()) devices.push_back(second);
  SessionOptions options = options_for(Precision::kF32, 4);
  options.deterministic = true;
  Session alone(model, options);
  const auto want = run_all(alone, pixels, 4, 4);
  std::vector<std::vector<float>> got(devices.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < devices.size(); ++i) {
    threads.emplace_back([&, i] {
      SessionOptions mine = options;
      mine.device = devices[i];
      Session session(model, mine);
      for (int round = 0; round < 20; ++round) got[i] = run_all(session, pixels, 4, 4);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < devices.size(); ++i) {
    const Mismatch m = compare(got[i], want, 2e-5 * std::fabs(want.front()) + 1e-5);  // another device may take another kernel
    EXPECT_EQ(m.count, 0) << to_string(devices[i]) << ": " << m.message();
  }
}

// Two batches under way give the same as one at a time, although their slots are overwritten as soon as begin() returns.
TEST(GpuUnderWay, TwoBatchesDoNotDisturbEachOther) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  constexpr int64_t kBatch = 4;
  SessionOptions options = options_for(Precision::kF16, kBatch);
  options.deterministic = true;  // the same bits every time
  options.probes = watch_all(model, kActivity);
  for (const int64_t micro_batch : {int64_t{0}, int64_t{3}}) {
    options.micro_batch = micro_batch;
    Session session(model, options);
    ASSERT_EQ(session.depth(), 2);
    const auto pixels_of = [&](int64_t batch) { return tiny_pixels(tiny.input, kBatch, static_cast<uint64_t>(100 + batch)); };
    const auto fill = [&](Slot& slot, int64_t batch) {
      slot.count = batch == 4 ? 1 : kBatch;
      std::copy_n(pixels_of(batch).data(), static_cast<size_t>(slot.count * tiny.input.elements()), slot.pixels);
    };
    std::vector<std::vector<float>> want;
    for (int64_t batch = 0; batch < 5; ++batch) {
      Slot& slot = session.slots()[0];
      fill(slot, batch);
      const auto logits = session.run(slot);
      want.emplace_back(logits.begin(), logits.end());
    }
    const Statistics one_by_one = session.statistics();
    session.reset_statistics();
    auto got = begin_overlapped(session, 5, fill);
    EXPECT_THROW((void)session.statistics(), ContractError) << "a batch is under way";
    got.push_back(end_batch(session));
    EXPECT_EQ(got, want) << "micro-batch " << micro_batch;
    const Statistics overlapped = session.statistics();
    EXPECT_EQ(overlapped.samples, one_by_one.samples);
    for (const auto& [name, sums] : one_by_one.values) EXPECT_EQ(overlapped.values.at(name).active, sums.active) << name;
  }
}

// The command's memory: a pool over the device's, whose blocks are given back in the order of the session's stream.
TEST(GpuMemory, APoolOverTheDeviceServesOneSessionAfterAnother) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 4, 3);
  Tracker upstream(default_memory(kGpu));
  {
    Pool pool(upstream, {}, stream_order(kGpu));
    SessionOptions options = options_for(Precision::kF32, 4);
    options.deterministic = true;
    options.memory = &pool;
    std::vector<float> first;
    size_t peak_bytes = 0;
    for (int round = 0; round < 4; ++round) {
      Session session(model, options);
      const auto logits = run_all(session, pixels, 4, 4);
      if (round == 0) first = logits;
      EXPECT_EQ(logits, first) << "round " << round;
      if (round == 1) peak_bytes = upstream.figures().peak_bytes;
    }
    EXPECT_EQ(upstream.figures().peak_bytes, peak_bytes) << "the third and fourth session need no more than the second";
    EXPECT_EQ(pool.figures().live_bytes, 0U) << pool.leaks();
  }
  EXPECT_EQ(upstream.figures().live_bytes, 0U);
}

// A micro-batch runs the same network on fewer samples.
TEST(GpuMicroBatch, ChangesNothing) {
  ELEK_NEEDS_GPU();
  const TinyOptions tiny;
  const Model model = tiny_resnet(tiny);
  const auto pixels = tiny_pixels(tiny.input, 10, 3);
  const auto want = run_reference(model, pixels, 10);
  SessionOptions options = options_for(Precision::kF32, 10);
  options.micro_batch = 4;  // 4, 4 and a partial 2, through both pixel buffers
  Session session(model, options);
  const Mismatch m = compare(run_all(session, pixels, 10, 10), want.logits(), 2e-5 * largest(want.logits()));
  EXPECT_EQ(m.count, 0) << m.message();
}

}  // namespace
}  // namespace elek::test
