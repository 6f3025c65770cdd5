// SPDX-License-Identifier: Apache-2.0
// The set of operators: each is found by its name, lists its fields once, and answers the questions of pruning and backends.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "elek/graph.h"

namespace elek {
namespace {

using How = ChannelFlow::How;

/// Default attributes of every operator.
template <size_t... I>
std::vector<Attrs> all(std::index_sequence<I...> /*indices*/) {
  return {Attrs(std::in_place_index<I>)...};
}
std::vector<Attrs> every_operator() { return all(std::make_index_sequence<std::variant_size_v<Attrs>>()); }

TEST(Op, EachIsFoundByItsOwnName) {
  std::set<std::string_view> names;
  for (const Attrs& attrs : every_operator()) {
    EXPECT_TRUE(names.insert(op_name(attrs)).second) << op_name(attrs) << " twice";
    const auto found = attrs_of(op_name(attrs));
    ASSERT_TRUE(found) << op_name(attrs);
    EXPECT_EQ(found->index(), attrs.index()) << op_name(attrs);
  }
  EXPECT_FALSE(attrs_of("conv9d"));
}

/// Changes one field; a field that is not visited is not hashed, not saved and not loaded.
struct ChangeField {
  int at = 0;
  int count = 0;
  bool changed(const char* name) {
    EXPECT_FALSE(std::string(name).empty());
    return count++ == at;
  }
  void operator()(const char* name, int64_t& value, IntRange /*range*/) { value += changed(name) ? 1 : 0; }
  void operator()(const char* name, Extent& extent, IntRange /*range*/) { extent.width += changed(name) ? 1 : 0; }
  void operator()(const char* name, Padding& padding, IntRange /*range*/) { padding.bottom += changed(name) ? 1 : 0; }
  void operator()(const char* name, double& value, RealRange /*range*/) { value += changed(name) ? 1.0 : 0.0; }
  void operator()(const char* name, bool& value) { value = changed(name) != value; }
  void operator()(const char* name, ImageShape& shape) { shape.width += changed(name) ? 1 : 0; }
  void operator()(const char* name, std::vector<int32_t>& list) { list.resize(list.size() + (changed(name) ? 1 : 0)); }
  template <typename Field>
  void operator()(const char* name, Field& value, OmittedAt<Field> /*at*/) {
    (*this)(name, value);
  }
  template <typename Field>
  void operator()(const char* name, Field& value, IntRange range, OmittedAt<Field> /*at*/) {
    (*this)(name, value, range);
  }
};

TEST(Op, EveryFieldIsVisitedOnceAndCountsForEquality) {
  const std::map<std::string_view, int> fields = {{"input", 1},    {"conv2d", 7},     {"batch_norm", 1},
                                                  {"max_pool", 4}, {"avg_pool", 5},   {"linear", 2},
                                                  {"clip", 2},     {"leaky_relu", 1}, {"channel_map", 2}};
  for (const Attrs& attrs : every_operator()) {
    const auto known = fields.find(op_name(attrs));
    const int count = known == fields.end() ? 0 : known->second;
    for (int at = 0; at <= count; ++at) {
      Attrs other = attrs;
      ChangeField change{at};
      visit_fields(other, change);
      EXPECT_EQ(change.count, count) << op_name(attrs);
      EXPECT_EQ(other == attrs, at == count) << op_name(attrs) << ", field " << at;
    }
  }
}

TEST(Op, ChannelFlow) {
  const auto flow = [](const Attrs& attrs, int64_t channels) {
    const std::vector<ImageShape> inputs(2, {channels, 4, 4});
    return channel_flow(attrs, inputs);
  };
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 8}, 4).how, How::kSeparates);
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 8, .groups = 2}, 4).groups, 2);
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 4, .groups = 4}, 4).how, How::kTies) << "depthwise";
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 4, .groups = 4}, 4).groups, 1) << "tied channels need no equal counts";
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 8, .groups = 4}, 4).how, How::kSeparates) << "a channel multiplier";
  EXPECT_EQ(flow(Conv2dAttrs{.out_channels = 1}, 1).how, How::kSeparates) << "one channel is an ordinary convolution";
  EXPECT_EQ(flow(LinearAttrs{8}, 4).how, How::kSeparates);
  EXPECT_EQ(flow(ChannelMapAttrs{}, 4).how, How::kMaps);
  for (const Attrs& attrs :
       {Attrs(AddAttrs{}), Attrs(ReluAttrs{}), Attrs(BatchNormAttrs{}), Attrs(MaxPoolAttrs{}), Attrs(AvgPoolAttrs{}),
        Attrs(GlobalAvgPoolAttrs{}), Attrs(FlattenAttrs{}), Attrs(ClipAttrs{}), Attrs(LeakyReluAttrs{}), Attrs(SigmoidAttrs{}),
        Attrs(HardSwishAttrs{}), Attrs(ChannelScaleAttrs{}), Attrs(SiluAttrs{})}) {
    EXPECT_EQ(flow(attrs, 4).how, How::kTies) << op_name(attrs);
  }
}

TEST(Op, ConcatJoinsChannels) {
  EXPECT_EQ(infer_shape("c", ConcatAttrs{}, {{3, 4, 5}, {2, 4, 5}, {3, 4, 5}}), (ImageShape{8, 4, 5}));
  EXPECT_EQ(channel_flow(ConcatAttrs{}, {}).how, How::kJoins);
  EXPECT_THROW((void)infer_shape("c", ConcatAttrs{}, {{3, 4, 5}}), ContractError);
  EXPECT_THROW((void)infer_shape("c", ConcatAttrs{}, {{3, 4, 5}, {3, 5, 4}}), ContractError);
  EXPECT_THROW((void)infer_shape("c", ConcatAttrs{}, {{int64_t{1} << 31, 1, 1}, {1, 1, 1}}), ContractError);
}

TEST(Op, ParametersSayWhatTheyAre) {
  const std::vector<ImageShape> input{{6, 5, 5}};
  const auto conv = op_parameters(Conv2dAttrs{.out_channels = 4, .kernel = 3, .groups = 2, .bias = true}, input, {4, 3, 3});
  ASSERT_EQ(conv.size(), 2U);
  EXPECT_EQ(conv[0].suffix, ".weight");
  EXPECT_EQ(conv[0].shape, (Shape{4, 3, 3, 3}));
  EXPECT_EQ(conv[0].role, ParameterRole::kWeight);
  EXPECT_EQ(conv[1].suffix, ".bias");
  EXPECT_EQ(conv[1].role, ParameterRole::kVector);
  const auto norm = op_parameters(BatchNormAttrs{}, input, input[0]);
  ASSERT_EQ(norm.size(), 4U);
  EXPECT_EQ(std::count_if(norm.begin(), norm.end(), [](const OpParameter& p) { return is_trained(p.role); }), 2);
  EXPECT_EQ(norm[3].suffix, ".running_var");
  EXPECT_EQ(norm[3].role, ParameterRole::kRunningVariance);
  EXPECT_TRUE(op_parameters(ReluAttrs{}, input, input[0]).empty());
}

TEST(Op, MacsCountLayersWithWeights) {
  const std::vector<ImageShape> input{{6, 5, 5}};
  EXPECT_EQ(op_macs(Conv2dAttrs{.out_channels = 4, .kernel = 3, .groups = 2}, input, {4, 3, 3}), 4 * 9 * 3 * 9);
  EXPECT_EQ(op_macs(LinearAttrs{7}, std::vector<ImageShape>{{6, 1, 1}}, {7, 1, 1}), 42);
  EXPECT_EQ(op_macs(BatchNormAttrs{}, input, input[0]), 0);
}

TEST(Op, AttributesAfterACut) {
  const std::vector<ImageShape> input{{6, 5, 5}};
  const std::vector<int64_t> in{0, 3, 5}, out{1, 2};
  const KeptChannels kept{in, out};
  const Conv2dAttrs conv{.out_channels = 4, .kernel = 3, .groups = 2};
  EXPECT_EQ(cut_attrs(conv, input, kept), Attrs(Conv2dAttrs{.out_channels = 2, .kernel = 3, .groups = 2}));
  EXPECT_EQ(cut_attrs(Conv2dAttrs{.out_channels = 6, .groups = 6}, input, {in, in}),
            Attrs(Conv2dAttrs{.out_channels = 3, .groups = 3}));
  EXPECT_EQ(cut_attrs(LinearAttrs{4, false}, input, kept), Attrs(LinearAttrs{2, false}));
  // Outputs 0 to 3 read inputs 5, 4, none and 3; outputs 1 and 2 stay, input 4 goes.
  EXPECT_EQ(cut_attrs(ChannelMapAttrs{{5, 4, -1, 3}, 2}, input, kept), Attrs(ChannelMapAttrs{{-1, -1}, 2}));
  EXPECT_EQ(cut_attrs(ChannelMapAttrs{{0, 5, 3, 3}, 2}, input, kept), Attrs(ChannelMapAttrs{{2, 1}, 2}));
  EXPECT_EQ(cut_attrs(MaxPoolAttrs{{3, 2, 1}}, input, kept), Attrs(MaxPoolAttrs{{3, 2, 1}}));
}

TEST(Op, ALinearLayerIsAConvolutionOfOnePosition) {
  EXPECT_EQ(as_convolution(LinearAttrs{7, true}), (Conv2dAttrs{.out_channels = 7, .bias = true}));
  const Conv2dAttrs conv{.out_channels = 7, .kernel = 3};
  EXPECT_EQ(as_convolution(conv), conv);
  EXPECT_THROW((void)as_convolution(ReluAttrs{}), ContractError);
}

TEST(Op, ActivationsSayTheirFunction) {
  EXPECT_EQ(activation_of(ReluAttrs{}), Activation::kRelu);
  EXPECT_EQ(activation_of(AddAttrs{}), Activation::kNone);
  const Activation relu6 = activation_of(ClipAttrs{0, 6});
  EXPECT_EQ(relu6.kind, Activation::Kind::kClip);
  EXPECT_EQ(relu6.high, 6.0F);
  EXPECT_TRUE(relu6.is_clamp());
  EXPECT_FALSE(activation_of(ClipAttrs{0.25, 1.5}).is_clamp()) << "0 does not stay 0";
  EXPECT_EQ(activation_of(LeakyReluAttrs{0.125}).slope, 0.125F);
  EXPECT_FALSE(activation_of(SigmoidAttrs{}).is_clamp());
  EXPECT_THROW((void)infer_shape("s", ChannelScaleAttrs{}, {{3, 4, 4}, {3, 4, 4}}), ContractError);
  EXPECT_EQ(infer_shape("s", ChannelScaleAttrs{}, {{3, 4, 4}, {3, 1, 1}}), (ImageShape{3, 4, 4}));
  EXPECT_THROW((void)infer_shape("c", ClipAttrs{2, 1}, {{3, 4, 4}}), ContractError);
  EXPECT_THROW((void)infer_shape("c", LeakyReluAttrs{std::nan("")}, {{3, 4, 4}}), ContractError);
}

TEST(Op, WindowThatIsRead) {
  const Conv2dAttrs conv{.kernel = {1, 7}, .stride = 2, .padding = {0, 1, 2, 3}, .dilation = {2, 1}};
  EXPECT_EQ(window_of(conv), (Window{{1, 7}, 2, {0, 1, 2, 3}, {2, 1}}));
  EXPECT_EQ(window_of(MaxPoolAttrs{{3, 2, 1}}).stride, 2);
  EXPECT_EQ(window_of(ChannelMapAttrs{{0}, 2}).stride, 2);
  EXPECT_EQ(window_of(ReluAttrs{}).kernel, 1);
}

}  // namespace
}  // namespace elek
