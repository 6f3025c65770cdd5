// SPDX-License-Identifier: Apache-2.0
// Sessions in int8. Each step is compared with the double reference on the values that it really read, rounded as the
// quantisation says. The tolerance is half a step of the output's grid plus the error of f32 arithmetic (tests/kernels).
// Storing values as integers must change no bit, and the sums must be those of the stored values.
#include <gtest/gtest.h>

#include <cmath>

#include "elek/quantize.h"
#include "elek/session.h"
#include "graph/integer_values.h"
#include "graph/passes.h"
#include "plan/program.h"
#include "tests/golden/session_support.h"
#include "tests/prune/array_source.h"

namespace elek {
namespace {

using test::Kind;
using test::kinds;
using test::run_all;

constexpr double kU32 = 0x1p-24;
constexpr int64_t kSamples = 5, kBatch = 3;

Model quantised(const Model& model) {
  test::ArraySource images(test::tiny_pixels(model.graph.input_shape(), 20, 3), 20);
  QuantizeOptions how;
  how.rounding = WeightRounding::kNearest;
  QuantizeReport report;
  return quantize(model, images, {}, how, {}, report);
}

SessionOptions int8_batch(int64_t batch, int threads = 2) {
  SessionOptions options;
  options.batch = batch;
  options.precision = Precision::kInt8;
  options.threads = threads;
  return options;
}

/// One step's exact result from the values that it read, and how far the kernel's may be from it.
struct Expected {
  std::vector<double> value, bound;
};

std::vector<double> widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

Expected convolution(const Model& model, const FusedNode& step, int64_t samples, std::vector<float> x,
                     const std::vector<float>& residual) {
  const Quantization& q = model.quantization;
  const bool integers = q.layers.contains(step.node.name);
  if (integers) {
    for (float& v : x) v = on_grid(v, q.values.at(model.graph.node(step.input).name));
  }
  const ConvWeights w = conv_weights(model, step, BatchNorm::kFold, host_resource());
  const std::vector<float> weight(w.weight.f32().begin(), w.weight.f32().end()), bias(w.bias.f32().begin(), w.bias.f32().end());
  const ImageShape& input = model.graph.node(step.input).shape;
  const Conv2dAttrs attrs = step.node.as<Conv2dAttrs>();
  Expected e;
  e.value = test::reference_conv2d(widened(x), samples, input, attrs, weight, bias);
  std::vector<float> magnitude_w, magnitude_b;
  for (const float v : weight) magnitude_w.push_back(std::fabs(v));
  for (const float v : bias) magnitude_b.push_back(std::fabs(v));
  for (float& v : x) v = std::fabs(v);
  e.bound = test::reference_conv2d(widened(x), samples, input, attrs, magnitude_w, magnitude_b);
  // Of integers the sum is exact; in f32 each product and addition rounds (Winograd: a factor of at most 16).
  const double terms = integers ? 8 : 16.0 * static_cast<double>(input.channels / attrs.groups * attrs.kernel.area() + 4);
  for (size_t i = 0; i < e.value.size(); ++i) {
    if (!residual.empty()) e.value[i] += double{residual[i]}, e.bound[i] += std::fabs(double{residual[i]});
    e.bound[i] *= terms * kU32;
    if (step.activation.is_relu()) e.value[i] = std::max(0.0, e.value[i]);
  }
  return e;
}

TEST(Int8, EveryStepIsWhatTheQuantisationSays) {
  for (const Kind& kind : kinds()) {
    const Model model = quantised(test::tiny_resnet(kind.tiny));
    const FusedGraph fused = fuse(model.graph);
    const auto rounded = integer_values(model.graph, fused, model.quantization);
    ASSERT_FALSE(rounded.empty());
    SessionOptions options = int8_batch(kSamples);
    options.keep_values = true;
    Session session(model, options);
    (void)run_all(session, test::tiny_pixels(model.graph.input_shape(), kSamples, 4), kSamples, kSamples);
    const auto stored = [&](ValueId value) { return session.stored_value(model.graph.node(value).name); };
    for (const FusedNode& step : fused.steps) {
      if (!step.node.is<Conv2dAttrs>()) continue;
      const Expected e =
          convolution(model, step, kSamples, stored(step.input), step.residual ? stored(*step.residual) : std::vector<float>());
      const std::vector<float> got = stored(step.output);
      const auto grid = rounded.find(step.output);
      int64_t bad = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        double want = e.value[i], bound = e.bound[i];
        if (grid != rounded.end()) {
          const double scale = grid->second.scale;
          want = std::clamp(want, grid->second.lowest() * scale, grid->second.highest() * scale);
          bound += scale * (0.5 + 256 * 2 * kU32);
          const double steps = double{got[i]} / scale;
          if (std::fabs(steps - std::nearbyint(steps)) > 1e-4) ++bad;
        }
        if (!(std::fabs(double{got[i]} - want) <= bound)) ++bad;
      }
      EXPECT_EQ(bad, 0) << kind.name << ": " << step.node.name;
    }
  }
}

TEST(Int8, IntegersInMemoryChangeNoBit) {
  for (const Kind& kind : kinds()) {
    const Model model = quantised(test::tiny_resnet(kind.tiny));
    const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 4);
    Session integers(model, int8_batch(kBatch));
    SessionOptions keep = int8_batch(kBatch);
    keep.keep_values = true;
    Session floats(model, keep);
    EXPECT_EQ(run_all(integers, pixels, kSamples, kBatch), run_all(floats, pixels, kSamples, kBatch)) << kind.name;
    int64_t bytes = 0;
    for (const ProgramTensor& tensor : integers.program().tensors) bytes += size_of(tensor.dtype) == 1 ? 1 : 0;
    EXPECT_GT(bytes, 0) << kind.name << ": no value is stored as integers";
    for (const ProgramTensor& tensor : floats.program().tensors) EXPECT_EQ(tensor.dtype, DType::kF32) << tensor.name;
  }
}

TEST(Int8, ThreadsAndBatchesChangeNoBit) {
  for (const Kind& kind : kinds()) {
    const Model model = quantised(test::tiny_resnet(kind.tiny));
    const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 4);
    Session one(model, int8_batch(1, 1)), two(model, int8_batch(kSamples, 3));
    EXPECT_EQ(run_all(one, pixels, kSamples, 1), run_all(two, pixels, kSamples, kSamples)) << kind.name;
  }
}

TEST(Int8, SumsAreThoseOfTheStoredValues) {
  for (const Kind& kind : kinds()) {
    const Model model = quantised(test::tiny_resnet(kind.tiny));
    const FusedGraph fused = fuse(model.graph);
    for (const uint32_t sets : {uint32_t{kActivity}, uint32_t{kActivity | kAbsolute | kRange | kPerSample}}) {
      SessionOptions options = int8_batch(kSamples);
      for (const FusedNode& step : fused.steps) {
        if (step.node.is<Conv2dAttrs>() || step.node.is<MaxPoolAttrs>()) {
          options.probes.values[model.graph.node(step.output).name] = sets;
        }
      }
      Session watched(model, options);
      options.keep_values = true;
      Session kept(model, options);
      const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 4);
      EXPECT_EQ(run_all(watched, pixels, kSamples, kSamples), run_all(kept, pixels, kSamples, kSamples));
      const Statistics statistics = watched.statistics();
      for (const auto& [name, unused] : options.probes.values) {
        const ImageShape& shape = model.graph.node(model.graph.at(name)).shape;
        const test::ChannelSums want = test::channel_sums(kept.stored_value(name), kSamples, shape, options.probes.threshold);
        const ValueSums& got = statistics.values.at(name);
        for (size_t c = 0; c < static_cast<size_t>(shape.channels); ++c) {
          EXPECT_EQ(got.active[c], want.active[c]) << kind.name << " " << name << " channel " << c;
          EXPECT_NEAR(got.sum[c], want.sum[c], 1e-6 * (1 + want.abs_sum[c])) << kind.name << " " << name;
          EXPECT_NEAR(got.sum_sq[c], want.sum_sq[c], 1e-6 * (1 + want.sum_sq[c])) << kind.name << " " << name;
          if (sets == kActivity) continue;
          EXPECT_EQ(got.max[c], want.max[c]) << kind.name << " " << name;
          EXPECT_EQ(got.fired[c], want.fired[c]) << kind.name << " " << name;
        }
      }
    }
  }
}

TEST(Int8, ValuesTakeAQuarterOfTheBytes) {
  test::TinyOptions wide;
  wide.widths = {64, 64};
  wide.input = {3, 32, 32};
  const Model model = quantised(test::tiny_resnet(wide));
  SessionOptions f32 = int8_batch(4);
  f32.precision = Precision::kF32;
  const SessionMemory floats = Session(model, f32).memory(), integers = Session(model, int8_batch(4)).memory();
  EXPECT_LT(static_cast<double>(integers.activations_bytes), 0.5 * static_cast<double>(floats.activations_bytes));
  EXPECT_EQ(integers.arena_bytes, integers.lower_bound_bytes);
}

TEST(Int8, TheRawConvolutionCannotBeWatched) {
  const Model model = quantised(test::tiny_resnet());
  SessionOptions options = int8_batch(1);
  options.batch_norm = BatchNorm::kApart;
  options.probes.tap = Tap::kConv;
  options.probes.values["conv1"] = kActivity;
  EXPECT_THROW(Session(model, options), UsageError);
}

TEST(Int8, WeightsThatAreNoLongerIntegersAreRefused) {
  Model model = quantised(test::tiny_resnet());
  Tensor changed = model.parameter("conv1.weight").clone(host_resource(), "test");
  changed.f32()[0] += 0.4F * model.quantization.layers.at("conv1")[0];
  model.parameters["conv1.weight"] = std::make_shared<const Tensor>(std::move(changed));
  EXPECT_THROW(Session(model, int8_batch(1)), ContractError);
}

}  // namespace
}  // namespace elek
