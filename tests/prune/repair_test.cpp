// SPDX-License-Identifier: Apache-2.0
// Batch-norm re-estimation compared with the interpreter in batch-statistics mode, in double: the moments of each batch,
// averaged without weights, the last batch partial.
#include "prune/repair.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/apply.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSamples = 15;
constexpr int64_t kBatch = 6;  // 6, 6, 3

SessionOptions options() {
  SessionOptions made;
  made.batch = kBatch;
  return made;
}

struct Means {
  std::vector<double> mean, variance;
};

/// Moments of every batch norm averaged over the first `batches` batches.
std::map<std::string, Means> averaged(const Model& model, const std::vector<uint8_t>& pixels, int64_t batches) {
  std::map<std::string, Means> result;
  const int64_t each = model.graph.input_shape().elements();
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t first = b * kBatch;
    const int64_t count = std::min(kBatch, kSamples - first);
    const std::vector<uint8_t> batch(pixels.begin() + first * each, pixels.begin() + (first + count) * each);
    for (const auto& [name, moments] : run_reference(model, batch, count, {true}).moments) {
      Means& means = result[name];
      means.mean.resize(moments.mean.size());
      means.variance.resize(moments.mean.size());
      for (size_t c = 0; c < moments.mean.size(); ++c) {
        means.mean[c] += moments.mean[c] / static_cast<double>(batches);
        means.variance[c] += moments.variance[c] / static_cast<double>(batches);
      }
    }
  }
  return result;
}

void expect_moments(const Model& repaired, const std::map<std::string, Means>& want) {
  ASSERT_FALSE(want.empty());
  for (const auto& [name, means] : want) {
    // f32 forward in front of the moments: sqrt(depth * K) roundings, here below 200, of 1.2e-7, four-fold for safety.
    const double scale = std::sqrt(*std::max_element(means.variance.begin(), means.variance.end()));
    const Mismatch mean = compare(repaired.parameter(name + ".running_mean").f32(), means.mean, 1e-4 * scale, 1e-4);
    EXPECT_EQ(mean.count, 0) << name << " mean: " << mean.message();
    const Mismatch variance =
        compare(repaired.parameter(name + ".running_var").f32(), means.variance, 1e-4 * scale * scale, 1e-4);
    EXPECT_EQ(variance.count, 0) << name << " variance: " << variance.message();
  }
}

TEST(Reestimate, MatchesBatchStatisticsOfDenseAndPrunedNetworks) {
  for (const TinyOptions& tiny : {TinyOptions{}, tiny_bottleneck_options()}) {
    const Model dense = tiny_resnet(tiny);
    PrunePlan plan = random_plan(dense, 2);
    plan.weights.clear();
    const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 8);
    for (const Model& model : {dense, apply(dense, plan, host_resource())}) {
      ArraySource source(pixels, kSamples);
      int64_t seen = 0;
      const Model repaired = reestimate_batch_norm(model, source, 0, options(), [&](int64_t done, int64_t total) {
        EXPECT_EQ(total, kSamples);
        seen = done;
      });
      EXPECT_EQ(seen, kSamples);
      EXPECT_FALSE(source.running());
      expect_moments(repaired, averaged(model, pixels, 3));
      for (const auto& [name, tensor] : model.parameters) {
        const bool running = name.find(".running_") != std::string::npos;
        EXPECT_EQ(repaired.parameters.at(name) != tensor, running) << name;
      }
    }
  }
}

TEST(Reestimate, StopsAfterTheBatchesAskedFor) {
  const Model model = tiny_resnet(TinyOptions{});
  const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 8);
  ArraySource source(pixels, kSamples);
  expect_moments(reestimate_batch_norm(model, source, 1, options(), {}), averaged(model, pixels, 1));
}

TEST(Reestimate, AConstantChannelKeepsItsStatistics) {
  Model model = tiny_resnet(TinyOptions{});
  auto weight = std::make_shared<Tensor>(model.parameter("conv1.weight").clone(host_resource(), "conv1.weight"));
  const std::span<float> w = weight->f32();
  const auto row = w.size() / static_cast<size_t>(weight->shape()[0]);
  std::fill(w.begin() + static_cast<int64_t>(2 * row), w.begin() + static_cast<int64_t>(3 * row), 0.0F);
  model.parameters["conv1.weight"] = weight;
  ArraySource source(tiny_pixels(model.graph.input_shape(), kSamples, 8), kSamples);
  const Model repaired = reestimate_batch_norm(model, source, 0, options(), {});
  for (const char* name : {"bn1.running_mean", "bn1.running_var"}) {
    EXPECT_FLOAT_EQ(repaired.parameter(name).f32()[2], model.parameter(name).f32()[2]) << name;
    EXPECT_NE(repaired.parameter(name).f32()[1], model.parameter(name).f32()[1]) << name;
  }
  EXPECT_NO_THROW(validate(repaired, "repaired"));
}

TEST(Reestimate, WithoutBatchNormItWarnsAndChangesNothing) {
  const Model model = depthwise_and_flatten(2);
  ArraySource source(tiny_pixels(model.graph.input_shape(), 4, 1), 4);
  const int64_t before = warnings_so_far();
  EXPECT_EQ(hash(reestimate_batch_norm(model, source, 0, options(), {})), hash(model));
  EXPECT_EQ(warnings_so_far(), before + 1);
}

TEST(Reestimate, RefusesMomentsThatDoNotFit) {
  const Model model = tiny_basic(1);
  const BatchMoments good{"bn1", {1, 2, 3, 4}, {1, 0, 3, 4}, 2};
  const Model repaired = with_batch_moments(model, {good}, host_resource());
  EXPECT_EQ(repaired.parameter("bn1.running_mean").f32()[2], 3.0F);
  EXPECT_EQ(repaired.parameter("bn1.running_mean").f32()[1], model.parameter("bn1.running_mean").f32()[1]);
  EXPECT_EQ(repaired.parameter("bn1.running_var").f32()[1], model.parameter("bn1.running_var").f32()[1]);
  BatchMoments bad = good;
  bad.mean[3] = std::numeric_limits<double>::quiet_NaN();
  try {
    (void)with_batch_moments(model, {bad}, host_resource());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'bn1' channel 3"));
  }
  bad = good;
  bad.variance[0] = -1;
  EXPECT_THROW((void)with_batch_moments(model, {bad}, host_resource()), InputError);
  bad = good;
  bad.batches = 0;
  EXPECT_THROW((void)with_batch_moments(model, {bad}, host_resource()), InputError);
  bad = good;
  bad.batch_norm = "conv1";
  EXPECT_THROW((void)with_batch_moments(model, {bad}, host_resource()), ContractError);
  bad = good;
  bad.mean.pop_back();
  EXPECT_THROW((void)with_batch_moments(model, {bad}, host_resource()), ContractError);
  EXPECT_THROW((void)with_batch_moments(model, {good, good}, host_resource()), ContractError);
}

TEST(Reestimate, AnEmptySourceIsRefused) {
  const Model model = tiny_resnet(TinyOptions{});
  ArraySource source({}, 0);
  EXPECT_THROW((void)reestimate_batch_norm(model, source, 0, options(), {}), InputError);
}

}  // namespace
}  // namespace elek::test
