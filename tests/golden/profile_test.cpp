// SPDX-License-Identifier: Apache-2.0
// The basis of `elek profile`: timed runs compute the same as others and time every step. Work and roofs equal values that were
// computed by hand from the definitions. No test asks how fast anything is.
#include "engine/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "elek/memory.h"
#include "engine/estimate.h"
#include "plan/program.h"
#include "prune/score.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

constexpr double kBytes = sizeof(float);

TEST(RunTimed, ComputesAndSumsWhatARunDoesAndTimesEveryStep) {
  const Model model = test::tiny_resnet({});
  SessionOptions options;
  options.batch = 5;
  options.micro_batch = 2;  // micro-batches of 2, 2 and 1
  options.threads = 1;
  options.probes = probes_for(find_criterion("std-consumer"), model.graph);
  Session plain(model, options), timed(model, options);
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 5, 3);
  const std::vector<float> want = test::run_all(plain, pixels, 5, 5);
  Slot& slot = timed.slots()[0];
  slot.count = 5;
  std::copy(pixels.begin(), pixels.end(), slot.pixels);
  StepTimes times;
  times.step_us = {1e9};  // what is left of another run does not stay
  const auto got = timed.run_timed(slot, times);
  EXPECT_EQ(std::vector<float>(got.begin(), got.end()), want);
  ASSERT_EQ(times.step_us.size(), timed.program().steps.size());
  for (size_t i = 0; i < times.step_us.size(); ++i) {
    const bool nothing_to_do = timed.program().steps[i].alias;
    EXPECT_TRUE(nothing_to_do ? times.step_us[i] >= 0 : times.step_us[i] > 0) << timed.program().steps[i].node.node.name;
    EXPECT_LT(times.step_us[i], 1e8);
  }
  EXPECT_GE(times.rest_us, 0);
  EXPECT_EQ(timed.statistics().samples, plain.statistics().samples);
  EXPECT_EQ(timed.run(slot).size(), want.size());  // and an ordinary run may follow
}

/// Winograd's products of one dimension of the output: tile + 2 a tile, F(4)'s last tile being of 2, 3 or 4.
int64_t products(Winograd winograd, int64_t size) {
  constexpr int64_t kLast[] = {0, 4, 4, 5};
  return winograd == Winograd::k2x2 ? (size + 1) / 2 * 4 : size / 4 * 6 + kLast[size % 4];
}

TEST(Work, FlopsAreTheModelsAndWinogradsKernelsDoFewer) {
  const Model model = test::tiny_resnet({});
  for (const Winograd winograd : {Winograd::kOff, Winograd::k2x2, Winograd::k4x4}) {
    SessionOptions options;
    options.batch = 5;
    options.micro_batch = 2;
    options.winograd = winograd;
    const Session session(model, options);
    const Program& program = session.program();
    double flops = 0;
    int64_t winograds = 0;
    for (size_t i = 0; i < program.steps.size(); ++i) {
      const StepWork work = work_of(model.graph, program, i, options.batch);
      flops += work.flops;
      const bool transforms = program.steps[i].kernel.starts_with("winograd");
      winograds += transforms ? 1 : 0;
      const ImageShape& y = program.tensors[static_cast<size_t>(program.steps[i].output)].shape;
      // 16 products for 4 outputs, 36 for 16, instead of 9 each; the last tile of a row or column takes what it is large
      const double share = !transforms ? 1.0
                                       : static_cast<double>(products(winograd, y.height) * products(winograd, y.width)) /
                                             static_cast<double>(9 * y.positions());
      EXPECT_DOUBLE_EQ(work.kernel_flops, share * work.flops) << program.steps[i].kernel;
    }
    EXPECT_EQ(flops, 2.0 * 5 * static_cast<double>(macs(model.graph)));
    EXPECT_EQ(winograds > 0, winograd != Winograd::kOff);
  }
}

/// input 3x8x8 -> conv 16, 3x3 -> conv 40, 1x1, stride 2 -> conv 40, 3x3, plus that -> max pool 2, stride 3
Model hand_model() {
  Model model;
  Graph& g = model.graph;
  const ValueId x = g.add("x", InputAttrs{{3, 8, 8}}, {});
  const ValueId a = g.add("a", Conv2dAttrs{16, 3, 1, 1, 1, true}, {x});
  const ValueId b = g.add("b", Conv2dAttrs{40, 1, 2, 0, 1, true}, {a});
  const ValueId c = g.add("c", Conv2dAttrs{40, 3, 1, 1, 1, true}, {b});
  const ValueId sum = g.add("sum", AddAttrs{}, {c, b});
  const ValueId pooled = g.add("pooled", MaxPoolAttrs{{1, 2, 0}}, {sum});
  g.set_output(pooled);
  return model;
}

TEST(Work, BytesAreWhatMustMove) {
  const Model model = hand_model();
  SessionOptions options;
  options.batch = 6;
  options.micro_batch = 4;
  const SessionEstimate session = estimate_memory(model, options);
  const Program& program = session.program;
  ASSERT_EQ(program.steps.size(), 5U);
  const Layout layout = program.tensors[1].layout;
  const auto pitch = [&](int64_t channels) { return static_cast<double>(padded_channels(layout, channels)); };
  const auto activations = [&](size_t step) { return work_of(model.graph, program, step, 6).activation_bytes; };
  EXPECT_DOUBLE_EQ(activations(0), 6 * (3 * 64 + 3 * 64 * kBytes));  // pixels are bytes
  EXPECT_DOUBLE_EQ(activations(1), 6 * kBytes * (3 * 64 + pitch(16) * 64));
  EXPECT_DOUBLE_EQ(activations(2), 6 * kBytes * (pitch(16) * 16 + pitch(40) * 16));  // every fourth pixel is read
  EXPECT_DOUBLE_EQ(activations(3), 6 * kBytes * 3 * pitch(40) * 16);                 // input, residual, output
  EXPECT_DOUBLE_EQ(activations(4), 6 * kBytes * pitch(40) * (4 + 4));
  for (const size_t step : {1U, 2U, 3U}) {
    const StepWork work = work_of(model.graph, program, step, 6);
    EXPECT_GT(program.steps[step].weights_bytes, 0U);
    EXPECT_EQ(work.weight_bytes, 2 * static_cast<double>(program.steps[step].weights_bytes)) << "two slices read them twice";
  }
  EXPECT_EQ(work_of(model.graph, program, 4, 6).weight_bytes, 0);
  Program changed = program;
  changed.steps[3].kernel = "alias";  // the name is for readers: nothing depends on it
  EXPECT_EQ(work_of(model.graph, changed, 3, 6).bytes(), work_of(model.graph, program, 3, 6).bytes());
  changed.steps[3].alias = true;
  EXPECT_EQ(work_of(model.graph, changed, 3, 6).bytes(), 0);
}

TEST(Roofs, TheLargerOfComputingAndMoving) {
  const Peaks peaks{1e9, {{1000, 10e6, 40e6}, {100000, 1e6, 4e6}}};  // 1 GFLOP/s; bytes a second
  StepWork work{8000, 2000, 500, 0};
  Roof roof = roof_of(work, 1, 1e9, peaks);
  EXPECT_EQ(roof.bound, Bound::kMemory);
  EXPECT_DOUBLE_EQ(roof.us, 50);  // 500 bytes at 10 MB/s, in a set below the smallest measured
  work.kernel_flops = 80000;
  roof = roof_of(work, 1, 1e9, peaks);
  EXPECT_EQ(roof.bound, Bound::kCompute);
  EXPECT_DOUBLE_EQ(roof.us, 80);
  work = {0, 0, 200000, 4000};  // two micro-batches of 102,000 bytes each exceed the largest set; weights come from memory
  roof = roof_of(work, 2, 1e9, peaks);
  EXPECT_DOUBLE_EQ(roof.us, 200000.0 + 1000.0);
  EXPECT_EQ(roof_of({}, 1, 1e9, peaks).bound, Bound::kNothing);
  EXPECT_EQ(roof_of({}, 1, 1e9, peaks).us, 0);
}

TEST(Roofs, BandwidthIsInterpolatedOverTheLogarithm) {
  const Peaks peaks{1e9, {{1000, 10, 100}, {100000, 2, 20}}};
  EXPECT_EQ(bandwidth_at(peaks, 1).copy, 10);
  EXPECT_EQ(bandwidth_at(peaks, 1000).copy, 10);
  EXPECT_NEAR(bandwidth_at(peaks, 10000).copy, 6, 1e-12);
  EXPECT_NEAR(bandwidth_at(peaks, 10000).read, 60, 1e-12);
  EXPECT_EQ(bandwidth_at(peaks, 100000).copy, 2);
  EXPECT_EQ(bandwidth_at(peaks, 1e12).read, 20);
  EXPECT_THROW((void)bandwidth_at({}, 1), ContractError);
}

TEST(MeasurePeaks, MeasuresWhatMemoryAllowsAndGivesItBack) {
  Tracker tracker(host_resource());
  Limit limit(tracker, size_t{3} << 20);
  SessionOptions options;
  options.threads = 1;
  options.memory = &limit;
  const Peaks peaks = measure_peaks(options);
  EXPECT_TRUE(std::isfinite(peaks.flops) && peaks.flops > 0);
  ASSERT_FALSE(peaks.bandwidths.empty());
  for (size_t i = 0; i < peaks.bandwidths.size(); ++i) {
    const Bandwidth& b = peaks.bandwidths[i];
    EXPECT_TRUE(b.copy > 0 && b.read > 0 && std::isfinite(b.copy) && std::isfinite(b.read));
    EXPECT_LE(b.set_bytes, size_t{3} << 20);
    EXPECT_GT(b.set_bytes, i > 0 ? peaks.bandwidths[i - 1].set_bytes : 0);
  }
  EXPECT_EQ(peaks.passes, 0) << "one thread has nobody to pass a line to";
  options.threads = 2;
  EXPECT_GT(measure_peaks(options).passes, 0);
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
  Limit nothing(tracker, 1000);
  options.memory = &nothing;
  EXPECT_THROW((void)measure_peaks(options), OutOfMemory);
}

}  // namespace
}  // namespace elek
