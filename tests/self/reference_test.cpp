// SPDX-License-Identifier: Apache-2.0
// The references compared with values computed by hand: all other tests rely on them, so their numbers must be easy to check.
#include "tests/support/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using Values = std::vector<double>;
using Floats = std::vector<float>;

Conv2dAttrs conv(int64_t channels, int64_t kernel, int64_t stride, int64_t padding, int64_t groups = 1) {
  Conv2dAttrs attrs;
  attrs.out_channels = channels;
  attrs.kernel = kernel;
  attrs.stride = stride;
  attrs.padding = padding;
  attrs.groups = groups;
  return attrs;
}

TEST(ReferenceConv, PaddingStrideAndBias) {
  // 3x3 image 1..9, weights 1..9, bias 100: each output sees a corner of the image, the first 1*5 + 2*6 + 4*8 + 5*9 = 94.
  const Values x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const Floats w = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(reference_conv2d(x, 1, {1, 3, 3}, conv(1, 3, 2, 1), w, Floats{100}), (Values{194, 206, 206, 194}));
}

TEST(ReferenceConv, HeightAndWidthAreNotSwapped) {
  // 2x3 image, 2x2 weights without padding: 1*1 + 2*10 + 4*100 + 5*1000, then one column on.
  EXPECT_EQ(reference_conv2d(Values{1, 2, 3, 4, 5, 6}, 1, {1, 2, 3}, conv(1, 2, 1, 0), Floats{1, 10, 100, 1000}, {}),
            (Values{5421, 6532}));
}

TEST(ReferenceConv, GroupsReadTheirOwnChannelsAndSamplesStayApart) {
  const Values x = {1, 10, 100, 1000, 2, 20, 200, 2000};  // two samples of four channels of one position
  const Floats w = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(reference_conv2d(x, 2, {4, 1, 1}, conv(4, 1, 1, 0, 2), w, {}), (Values{21, 43, 6500, 8700, 42, 86, 13000, 17400}));
}

/// Runs one node on a single sample.
Values run_node(const Attrs& attrs, const ImageShape& input, const Values& x, const Values& other = {}) {
  Graph graph;
  const ValueId a = graph.add("a", InputAttrs{input}, {});
  std::vector<ValueId> inputs = {a};
  if (!other.empty()) {
    inputs.push_back(a);
  }
  const Node node = graph.node(graph.add("node", attrs, inputs));
  return reference_node(node, 1, input, {x, other});
}

TEST(ReferenceNode, EachOperator) {
  const ImageShape shape{1, 2, 3};
  const Values x = {-1, 2, -3, 4, -5, 6};
  EXPECT_EQ(run_node(ReluAttrs{}, shape, x), (Values{0, 2, 0, 4, 0, 6}));
  EXPECT_EQ(run_node(AddAttrs{}, shape, x, {10, 20, 30, 40, 50, 60}), (Values{9, 22, 27, 44, 45, 66}));
  EXPECT_EQ(run_node(FlattenAttrs{}, shape, x), x);
  EXPECT_EQ(run_node(GlobalAvgPoolAttrs{}, shape, x), (Values{0.5}));
  EXPECT_EQ(run_node(MaxPoolAttrs{{2, 1, 0}}, shape, x), (Values{4, 6}));
  EXPECT_EQ(run_node(AvgPoolAttrs{{2, 1, 0}}, shape, x), (Values{0, 0}));
}

TEST(ReferenceNode, PaddingOfPools) {
  const ImageShape shape{1, 2, 2};
  const Values x = {-1, -2, -3, -4};
  EXPECT_EQ(run_node(MaxPoolAttrs{{3, 2, 1}}, shape, x), (Values{-1})) << "padding is -infinity, not zero";
  EXPECT_EQ(run_node(AvgPoolAttrs{{2, 2, 1}}, shape, x), (Values{-0.25, -0.5, -0.75, -1})) << "the divisor counts the padding";
}

TEST(ReferenceNode, NanPassesThroughReluAndMaxPool) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(run_node(ReluAttrs{}, {1, 1, 1}, {nan})[0]));
  EXPECT_TRUE(std::isnan(run_node(MaxPoolAttrs{{2, 1, 0}}, {1, 2, 2}, {1, nan, 3, 4})[0]));
}

TEST(ReferenceNode, ChannelMapSlicesAndPads) {
  const ImageShape shape{2, 3, 3};
  Values x;
  for (int i = 0; i < 18; ++i) {
    x.push_back(i);
  }
  ChannelMapAttrs map;
  map.source = {-1, 1, 0};
  map.stride = 2;
  EXPECT_EQ(run_node(map, shape, x), (Values{0, 0, 0, 0, 9, 11, 15, 17, 0, 2, 6, 8}));
}

/// input [2, 1, 1] -> bn; gamma 2 and 3, beta 1 and -1, mean 1 and 2, var such that var + eps = 4 and 0.25.
Model normalising_model() {
  Model model;
  const ValueId x = model.graph.add("input", InputAttrs{{2, 1, 1}}, {});
  model.graph.add("bn", BatchNormAttrs{0.125}, {x});
  model.parameters["bn.weight"] = tensor_of({2, 3}, {2});
  model.parameters["bn.bias"] = tensor_of({1, -1}, {2});
  model.parameters["bn.running_mean"] = tensor_of({1, 2}, {2});
  model.parameters["bn.running_var"] = tensor_of({3.875F, 0.125F}, {2});
  return model;
}

TEST(ReferenceBatchNorm, RunningStatistics) {
  const ReferenceValues run = run_reference_nchw(normalising_model(), {5, 3, -1, 2}, 2);
  EXPECT_EQ(run.logits(), (Values{5, 5, -1, -1}));  // (5-1)/2*2+1, (3-2)/0.5*3-1, …
  EXPECT_TRUE(run.moments.empty());
}

TEST(ReferenceBatchNorm, BatchStatisticsNormaliseByTheBiasedVariance) {
  const ReferenceValues run = run_reference_nchw(normalising_model(), {5, 3, -1, 2}, 2, {.batch_statistics = true});
  const ReferenceMoments& moments = run.moments.at("bn");
  EXPECT_EQ(moments.mean, (Values{2, 2.5}));
  EXPECT_EQ(moments.biased_variance, (Values{9, 0.25}));
  EXPECT_EQ(moments.variance, (Values{18, 0.5}));
  const Values want = {3 / std::sqrt(9.125) * 2 + 1, 0.5 / std::sqrt(0.375) * 3 - 1, -3 / std::sqrt(9.125) * 2 + 1,
                       -0.5 / std::sqrt(0.375) * 3 - 1};
  const Mismatch m = compare(run.logits(), want, 1e-14);
  EXPECT_EQ(m.count, 0) << m.message();
}

TEST(ReferenceRun, PixelsAreReadChannelsLast) {
  Model model;
  model.graph.add("input", InputAttrs{{2, 1, 2}}, {});
  model.preprocessing = {{0.5F, 0.25F}, {0.5F, 2.0F}};
  const ReferenceValues run = run_reference(model, {0, 255, 51, 102}, 1);
  const Values want = {-1, (0.2 - 0.5) / 0.5, 0.375, (0.4 - 0.25) / 2};
  const Mismatch m = compare(run.at("input"), want, 1e-15);
  EXPECT_EQ(m.count, 0) << m.message();
}

TEST(ReferenceRun, LinearIsAMatrixProduct) {
  Model model;
  const ValueId x = model.graph.add("input", InputAttrs{{3, 1, 1}}, {});
  model.graph.add("fc", LinearAttrs{2, true}, {x});
  model.parameters["fc.weight"] = tensor_of({1, 2, 3, 4, 5, 6}, {2, 3});
  model.parameters["fc.bias"] = tensor_of({10, 20}, {2});
  EXPECT_EQ(run_reference_nchw(model, {1, 10, 100}, 1).logits(), (Values{331, 674}));
}

TEST(ReferenceRun, RefusesInputsOfAnotherSize) {
  const Model model = tiny_resnet();
  EXPECT_THROW((void)run_reference(model, std::vector<uint8_t>(7), 1), ContractError);
  EXPECT_THROW((void)run_reference_nchw(model, Floats(7), 1), ContractError);
}

TEST(ChannelSumsOracle, EverySet) {
  // Two samples, two channels, two positions; threshold 1 counts what is larger, not equal.
  const Floats y = {1, 3, -2, 0, 5, -1, 1, 1};
  const ChannelSums sums = channel_sums(y, 2, {2, 1, 2}, 1.0F);
  EXPECT_EQ(sums.count, 4);
  EXPECT_EQ(sums.nonfinite, 0);
  EXPECT_EQ(sums.sum, (Values{8, 0}));
  EXPECT_EQ(sums.sum_sq, (Values{36, 6}));
  EXPECT_EQ(sums.abs_sum, (Values{10, 4}));
  EXPECT_EQ(sums.max, (Values{5, 1}));
  EXPECT_EQ(sums.active, (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(sums.fired, (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(sums.mean_peak, (Values{2, 1}));
  EXPECT_EQ(sums.mean_sum, (Values{4, 0}));
  EXPECT_EQ(sums.mean_sum_sq, (Values{8, 2}));
}

TEST(ChannelSumsOracle, NonFiniteValuesAreCountedAndShow) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const ChannelSums sums = channel_sums(Floats{nan, 1, inf, 2}, 1, {2, 1, 2}, 0.0F);
  EXPECT_EQ(sums.nonfinite, 2);
  EXPECT_TRUE(std::isnan(sums.sum[0]) && std::isnan(sums.max[0]) && std::isnan(sums.mean_peak[0]));
  EXPECT_TRUE(std::isinf(sums.sum[1]) && std::isinf(sums.max[1]));
  EXPECT_EQ(sums.active, (std::vector<int64_t>{1, 2}));
}

TEST(TapNormsOracle, PaddingAndStrideDecideWhatATapMeets) {
  // One 3x3 channel 1..9, 3x3 taps, stride 2, padding 1: the centre tap meets the corners, its neighbours the edges, …
  const Floats x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(tap_norms(x, 1, {1, 3, 3}, {3, 2, 1, 1}),
            (Values{25, 16 + 36, 25, 4 + 64, 1 + 9 + 49 + 81, 4 + 64, 25, 16 + 36, 25}));
}

TEST(TapNormsOracle, PointwiseNormsArePerChannelOverSamples) {
  EXPECT_EQ(tap_norms(Floats{1, 2, 3, 4}, 2, {2, 1, 1}, {1, 1, 0, 1}), (Values{10, 20}));
}

}  // namespace
}  // namespace elek::test
