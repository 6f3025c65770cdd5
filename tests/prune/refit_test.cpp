// SPDX-License-Identifier: Apache-2.0
// The refit of whole networks compared with its definition: both networks are interpreted in double with every activation kept;
// normal equations are built column by column and solved by elimination, layer after layer. Also: its purpose (lost channels
// are recovered, zeros are kept) and its limits (memory does not grow with the images, none is left allocated).
#include "prune/refit.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/at.h"
#include "core/error.h"
#include "prune/apply.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/golden/window_models.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/prune/refit_reference.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSamples = kRefitSamples;

SessionOptions one_thread() {
  SessionOptions options;
  options.threads = 1;
  return options;
}

TEST(Refit, IsItsDefinitionOnWholeNetworks) {
  const double ridge = 0.1;  // keeps condition numbers below 10 n, so that roundings of the f32 forward stay small in W
  TinyOptions small;
  small.widths = {5, 8};
  TinyOptions grouped = tiny_bottleneck_options();
  grouped.blocks = 1;
  Model without_batch_norm = depthwise_and_flatten(3);
  for (const char* name : {"expand.weight", "depthwise.weight", "project.weight", "hidden.weight", "fc.weight"}) {
    for (float& w : own(without_batch_norm, name).f32()) w = w == 0.0F ? 0.5F : w;  // zeros would stay zero
  }
  Model joined = concat_model(), mobile = tiny_mobile(3);
  mobile.parameters = tiny_parameters(mobile.graph, 29);
  for (const Model& dense : {tiny_resnet(small), tiny_resnet(grouped), without_batch_norm, joined, mobile}) {
    const PrunePlan plan = channel_plan(dense, 8);  // of seeds 2 to 14, 8 and 11 leave every layer an input that varies
    const Model pruned = apply(dense, plan, host_resource());
    const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 8);
    ArraySource source(pixels, kSamples);
    int64_t last = 0, total = 0;
    const Model got = refit(dense, pruned, plan, source, six_at_a_time(),
                            [&](int64_t done, int64_t all) {
                              EXPECT_GT(done, last);
                              last = done;
                              total = all;
                            },
                            {ridge, 0, RefitTarget::kLayer});
    EXPECT_EQ(last, total);
    EXPECT_FALSE(source.running());
    const Model want = refit_by_definition(dense, pruned, plan, pixels, ridge, {});
    int64_t changed = 0;
    for (const auto& [name, tensor] : want.parameters) {
      const std::span<const float> expected = tensor->f32();
      double scale = 0;
      for (const float v : expected) scale = std::max(scale, std::fabs(static_cast<double>(v)));
      // An input that does not vary has zero weights, up to the forward's roundings: nothing would be compared.
      if (tensor != pruned.parameters.at(name)) {
        EXPECT_GT(scale, 0.01) << name;
      }
      // Forward in f32, errors of 1e-6 of x, times condition 10 n <= 2000 in the worst direction.
      const Mismatch mismatch =
          compare(got.parameter(name).f32(), std::vector<double>(expected.begin(), expected.end()), 2e-3 * scale, 0);
      EXPECT_EQ(mismatch.count, 0) << name << ": " << mismatch.message();
      changed += tensor != pruned.parameters.at(name) ? 1 : 0;
      EXPECT_EQ(got.parameters.at(name) == pruned.parameters.at(name), tensor == pruned.parameters.at(name)) << name;
    }
    EXPECT_GT(changed, 2);
  }
}

TEST(Refit, NamesItsLayersInOrderAndForetellsItsWork) {
  const Model dense = tiny_basic(1);
  PrunePlan plan;
  const std::vector<Group> groups = find_groups(dense.graph);
  const auto found = std::find_if(groups.begin(), groups.end(), [](const Group& g) { return g.prunable; });
  ASSERT_NE(found, groups.end());
  plan.groups.push_back({found->name, found->channels, {0, 1}, {}});
  const Model pruned = apply(dense, plan, host_resource());
  const RefitPlan work = plan_refit(dense, pruned, plan, one_thread(), kSamples, {});
  std::vector<std::string> names;
  size_t largest = 0;
  for (const RefitLayer& layer : work.layers) {
    names.push_back(layer.shape.name);
    largest = std::max(largest, FitMoments::bytes(layer.shape, layer.sparse, 1));
  }
  EXPECT_THAT(names, testing::Not(testing::Contains("conv1")));  // reads the image, which nobody pruned
  EXPECT_EQ(names.back(), "fc");
  EXPECT_EQ(work.moments_bytes, largest);
  EXPECT_GT(work.dense_passes, 0);
  EXPECT_THROW((void)plan_refit(dense, dense, plan, one_thread(), kSamples, {}), ContractError);
}

/// The stem's channel 1 becomes a copy of channel 0, batch norm included.
Model with_twin_channels(Model model) {
  for (const char* name : {"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"}) {
    const std::span<float> values = own(model, name).f32();
    const size_t each = values.size() / at(model.parameter(name).shape()[0]);
    std::copy_n(values.begin(), each, values.begin() + static_cast<int64_t>(each));
  }
  return model;
}

TEST(Refit, RecoversWhatOtherChannelsCanTell) {
  const Model dense = with_twin_channels(two_layer_chain(1));
  const Graph& graph = dense.graph;
  PrunePlan plan;
  plan.groups.push_back({find_groups(graph)[find_group(graph, find_groups(graph), "conv1")].name, 4, {0, 2, 3}, {}});
  const Model pruned = apply(dense, plan, host_resource());
  const std::vector<uint8_t> pixels = tiny_pixels(graph.input_shape(), kSamples, 8);
  ArraySource source(pixels, kSamples);
  const Model repaired = refit(dense, pruned, plan, source, six_at_a_time(), {}, {1e-7, 0});
  const std::vector<double> want = run_reference(dense, pixels, kSamples).logits();
  const auto error = [&](const Model& model) {
    const std::vector<double> got = run_reference(model, pixels, kSamples).logits();
    double largest = 0;
    for (size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::fabs(got[i] - want[i]));
    return largest;
  };
  EXPECT_GT(error(pruned), 0.05);
  EXPECT_LT(error(repaired), 1e-3 * error(pruned));
}

TEST(Refit, MaskedWeightsStayZeroAndTheOthersFitBetter) {
  const Model dense = tiny_resnet(TinyOptions{});
  PrunePlan plan = random_plan(dense, 5);
  plan.groups.clear();
  ASSERT_FALSE(plan.weights.empty());
  const Model pruned = apply(dense, plan, host_resource());
  const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 8);
  ArraySource source(pixels, kSamples);
  const Model repaired = refit(dense, pruned, plan, source, six_at_a_time(), {});
  for (const WeightCut& cut : plan.weights) {
    const std::span<const float> got = repaired.parameter(cut.node + ".weight").f32();
    const std::span<const float> old = pruned.parameter(cut.node + ".weight").f32();
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(old[i] != 0.0F || got[i] == 0.0F) << cut.node << " " << i;
    }
    EXPECT_FALSE(std::equal(got.begin(), got.end(), old.begin())) << cut.node;
  }
  const std::vector<double> want = run_reference(dense, pixels, kSamples).logits();
  const auto error = [&](const Model& model) {
    const std::vector<double> got = run_reference(model, pixels, kSamples).logits();
    double sum = 0;
    for (size_t i = 0; i < got.size(); ++i) sum += (got[i] - want[i]) * (got[i] - want[i]);
    return sum;
  };
  EXPECT_LT(error(repaired), 0.5 * error(pruned));
}

TEST(Refit, MemoryDoesNotGrowWithTheImagesAndNothingIsLeft) {
  const Model dense = tiny_resnet(TinyOptions{});
  const PrunePlan plan = channel_plan(dense, 2);
  const Model pruned = apply(dense, plan, host_resource());
  size_t peaks[2] = {0, 0};
  for (const int64_t batches : {1, 5}) {
    const int64_t samples = 6 * batches;
    ArraySource source(tiny_pixels(dense.graph.input_shape(), samples, 8), samples);
    Tracker memory(host_resource());
    {
      const Model repaired = refit(dense, pruned, plan, source, six_at_a_time(&memory), {});
      EXPECT_GT(memory.figures().live_bytes, 0u);  // the new tensors
    }
    EXPECT_EQ(memory.figures().live_bytes, 0u);
    peaks[batches == 5] = memory.figures().peak_bytes;
    EXPECT_GE(memory.figures().peak_bytes, plan_refit(dense, pruned, plan, six_at_a_time(), 6, {}).moments_bytes);
  }
  EXPECT_EQ(peaks[0], peaks[1]);
  ArraySource source(tiny_pixels(dense.graph.input_shape(), 6, 8), 6);
  Tracker memory(host_resource());
  Limit limit(memory,
              plan_refit(dense, pruned, plan, six_at_a_time(), 6, {}).moments_bytes - 1);  // sessions would make do with less
  EXPECT_THROW((void)refit(dense, pruned, plan, source, six_at_a_time(&limit), {}), OutOfMemory);
  EXPECT_FALSE(source.running());
  EXPECT_EQ(memory.figures().live_bytes, 0u);
}

TEST(Refit, IsTheSameWhereverItsPassesStart) {
  TinyOptions small;
  small.widths = {5, 8};
  for (const Model& dense : {tiny_resnet(small), tiny_resnet(tiny_bottleneck_options()), tiny_option_a(3)}) {
    const PrunePlan plan = channel_plan(dense, 2);
    const Model pruned = apply(dense, plan, host_resource());
    const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 8);
    const size_t all = plan_refit(dense, pruned, plan, six_at_a_time(), kSamples, {kRidge, size_t{1} << 30}).kept.bytes;
    ASSERT_GT(all, 0u);
    Model from_images;
    double passes = 0;
    for (const size_t bytes : {size_t{0}, all / 2, all}) {
      const RefitPlan work = plan_refit(dense, pruned, plan, six_at_a_time(), kSamples, {kRidge, bytes});
      EXPECT_LE(work.kept.bytes, bytes);
      EXPECT_EQ(work.kept.recomputed == 0, bytes == all);
      Tracker memory(host_resource());
      ArraySource source(pixels, kSamples);
      const Model got = refit(dense, pruned, plan, source, six_at_a_time(&memory), {}, {0.1, bytes});
      EXPECT_GE(memory.figures().peak_bytes, work.kept.bytes + work.moments_bytes / 2);
      if (bytes == 0) {
        from_images = got;
        passes = work.dense_passes;
        continue;
      }
      EXPECT_LT(work.dense_passes, bytes == all ? passes : passes + 1e-9);
      for (const auto& [name, tensor] : from_images.parameters) {
        const std::span<const float> expected = tensor->f32();
        double scale = 0;
        for (const float v : expected) scale = std::max(scale, std::fabs(static_cast<double>(v)));
        // As in IsItsDefinitionOnWholeNetworks: parts of a network may add up in another order, in f32.
        const Mismatch m =
            compare(got.parameter(name).f32(), std::vector<double>(expected.begin(), expected.end()), 2e-3 * scale, 0);
        EXPECT_EQ(m.count, 0) << name << ": " << m.message();
      }
    }
  }
}

TEST(Refit, NamesTheLayerThatCannotBeFitted) {
  Model dense = tiny_resnet(TinyOptions{});
  const PrunePlan plan = channel_plan(dense, 2);
  const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 8);
  for (float& v : own(dense, "bn1.bias").f32()) v = std::numeric_limits<float>::infinity();
  const Model pruned = apply(dense, plan, host_resource());
  ArraySource source(pixels, kSamples);
  try {
    (void)refit(dense, pruned, plan, source, six_at_a_time(), {});
    FAIL() << "nothing was refused";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("layer1.0.conv1"), HasSubstr("infinite")));
  }
  EXPECT_FALSE(source.running());
  ArraySource empty({}, 0);
  EXPECT_THROW((void)refit(dense, pruned, plan, empty, six_at_a_time(), {}), InputError);
}

}  // namespace
}  // namespace elek::test
