// SPDX-License-Identifier: Apache-2.0
// Graph: shapes of every operator, the refusals, names, readers and multiply-accumulates.
#include "elek/graph.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/error.h"

namespace elek {
namespace {

Conv2dAttrs conv(int64_t channels, int64_t kernel, int64_t stride, int64_t padding, int64_t groups = 1) {
  Conv2dAttrs attrs;
  attrs.out_channels = channels;
  attrs.kernel = kernel;
  attrs.stride = stride;
  attrs.padding = padding;
  attrs.groups = groups;
  return attrs;
}

TEST(InferShape, EachOperator) {
  const ImageShape in{8, 15, 9};
  const std::pair<Attrs, ImageShape> table[] = {
      {conv(64, 7, 2, 3), {64, 8, 5}},
      {conv(16, 1, 1, 0), {16, 15, 9}},
      {conv(12, 3, 2, 0, 4), {12, 7, 4}},
      {BatchNormAttrs{}, in},
      {ReluAttrs{}, in},
      {MaxPoolAttrs{{3, 2, 1}}, {8, 8, 5}},
      {AvgPoolAttrs{{2, 2, 0}}, {8, 7, 4}},
      {GlobalAvgPoolAttrs{}, {8, 1, 1}},
      {FlattenAttrs{}, {8 * 15 * 9, 1, 1}},
      {ChannelMapAttrs{{-1, 7, 0}, 2}, {3, 8, 5}},
  };
  for (const auto& [attrs, want] : table) {
    EXPECT_EQ(infer_shape("n", attrs, {in}), want) << "operator " << attrs.index();
  }
  EXPECT_EQ(infer_shape("n", AddAttrs{}, {in, in}), in);
  EXPECT_EQ(infer_shape("n", LinearAttrs{10, true}, {{8, 1, 1}}), (ImageShape{10, 1, 1}));
  EXPECT_EQ(infer_shape("n", InputAttrs{in}, {}), in);
}

/// The message of the ContractError that `act` must throw.
std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const ContractError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(InferShape, RefusalsNameOperatorNodeGotAndExpected) {
  const ImageShape in{8, 15, 9};
  struct Case {
    Attrs attrs;
    std::vector<ImageShape> inputs;
    std::vector<std::string> words;
  };
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const Case table[] = {
      {conv(0, 3, 1, 1), {in}, {"conv2d 'n'", "out_channels", "got 0"}},
      {conv(8, 0, 1, 1), {in}, {"kernel", "got 0"}},
      {conv(8, 3, 0, 1), {in}, {"stride", "got 0"}},
      {conv(8, 3, 1, -1), {in}, {"padding", "got -1"}},
      {conv(8, 3, 1, huge), {in}, {"padding", std::to_string(huge)}},
      {conv(8, 10, 1, 0), {in}, {"kernel 10", "8x15x9"}},
      {conv(8, 3, 1, 1, 3), {in}, {"groups 3", "8"}},
      {conv(9, 3, 1, 1, 4), {in}, {"groups 4", "9"}},
      {conv(8, 3, 1, 1, 0), {in}, {"groups", "got 0"}},
      {conv(8, 3, 1, 1), {in, in}, {"expected 1 inputs, got 2"}},
      {conv(8, 3, 1, 1), {}, {"expected 1 inputs, got 0"}},
      {BatchNormAttrs{0.0}, {in}, {"batch_norm 'n'", "eps"}},
      {BatchNormAttrs{std::numeric_limits<double>::quiet_NaN()}, {in}, {"eps"}},
      {AddAttrs{}, {in, {8, 15, 8}}, {"add 'n'", "8x15x9", "8x15x8"}},
      {AddAttrs{}, {in}, {"expected 2 inputs, got 1"}},
      {MaxPoolAttrs{{3, 2, 3}}, {in}, {"max_pool 'n'", "padding", "got 3"}},
      {MaxPoolAttrs{{{3, 2}, 2, {0, 0, 0, 2}}}, {in}, {"padding", "3x2", "got 0,0,0,2"}},
      {Conv2dAttrs{.out_channels = 8, .kernel = {3, 2}, .dilation = {7, 9}},
       {in},
       {"kernel 3x2 with dilation 7x9 does not fit into input 8x15x9"}},
      {AvgPoolAttrs{{0, 2, 0}}, {in}, {"avg_pool 'n'", "kernel"}},
      {MaxPoolAttrs{{3, 2, huge}}, {in}, {"padding"}},
      {LinearAttrs{10, true}, {in}, {"linear 'n'", "8x15x9", "flatten"}},
      {LinearAttrs{0, true}, {{8, 1, 1}}, {"out_features", "got 0"}},
      {ChannelMapAttrs{{0, 8}, 1}, {in}, {"channel_map 'n'", "[-1, 8)", "got 8"}},
      {ChannelMapAttrs{{0, -2}, 1}, {in}, {"got -2"}},
      {ChannelMapAttrs{{}, 1}, {in}, {"number of channels"}},
      {ChannelMapAttrs{{0}, 0}, {in}, {"stride"}},
      {InputAttrs{{0, 4, 4}}, {}, {"got 0"}},
      {InputAttrs{{huge, huge, 4}}, {}, {"2^63"}},
  };
  for (const Case& each : table) {
    const std::string text = refusal([&] { (void)infer_shape("n", each.attrs, each.inputs); });
    for (const std::string& word : each.words) {
      EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' not in: " << text;
    }
  }
}

TEST(Graph, KeepsNodesInOrderWithTheirShapes) {
  Graph graph;
  const ValueId x = graph.add("input", InputAttrs{{3, 8, 6}}, {});
  const ValueId c = graph.add("conv1", conv(16, 3, 2, 1), {x});
  const ValueId r = graph.add("relu", ReluAttrs{}, {c});
  const ValueId sum = graph.add("sum", AddAttrs{}, {r, c});
  EXPECT_EQ(x, 0);
  EXPECT_EQ(graph.nodes().size(), 4U);
  EXPECT_EQ(graph.node(c).shape, (ImageShape{16, 4, 3}));
  EXPECT_EQ(graph.input_shape(), (ImageShape{3, 8, 6}));
  EXPECT_EQ(graph.output(), sum) << "the last one unless set";
  graph.set_output(r);
  EXPECT_EQ(graph.output(), r);
  EXPECT_EQ(graph.find("relu"), r);
  EXPECT_EQ(graph.find("none"), -1);
  EXPECT_EQ(graph.at("sum"), sum);
  EXPECT_EQ(graph.consumers(c), (std::vector<ValueId>{r, sum}));
  EXPECT_TRUE(graph.consumers(sum).empty());
  const char* names[] = {"input", "conv2d", "relu", "add"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(op_name(graph.nodes()[i]), names[i]);
  }
}

TEST(Graph, AReaderThatReadsTwiceIsOneConsumer) {
  Graph graph;
  const ValueId x = graph.add("input", InputAttrs{{3, 8, 6}}, {});
  const ValueId twice = graph.add("twice", AddAttrs{}, {x, x});
  EXPECT_EQ(graph.consumers(x), (std::vector<ValueId>{twice}));
}

TEST(Graph, OpNamesOfAllOperators) {
  const std::pair<Attrs, const char*> table[] = {{InputAttrs{}, "input"},
                                                 {Conv2dAttrs{}, "conv2d"},
                                                 {BatchNormAttrs{}, "batch_norm"},
                                                 {ReluAttrs{}, "relu"},
                                                 {AddAttrs{}, "add"},
                                                 {MaxPoolAttrs{}, "max_pool"},
                                                 {AvgPoolAttrs{}, "avg_pool"},
                                                 {GlobalAvgPoolAttrs{}, "global_avg_pool"},
                                                 {LinearAttrs{}, "linear"},
                                                 {FlattenAttrs{}, "flatten"},
                                                 {ChannelMapAttrs{}, "channel_map"}};
  for (const auto& [attrs, name] : table) {
    EXPECT_EQ(op_name(Node{"n", attrs, {}, {}}), name);
  }
}

TEST(Graph, ARefusedNodeLeavesTheGraphAsItWas) {
  Graph graph;
  const ValueId x = graph.add("input", InputAttrs{{3, 8, 6}}, {});
  EXPECT_NE(refusal([&] { graph.add("input", ReluAttrs{}, {x}); }).find("another node has the name 'input'"),
            std::string::npos);
  EXPECT_THROW(graph.add("", ReluAttrs{}, {x}), ContractError);
  EXPECT_THROW(graph.add("second", InputAttrs{{3, 8, 6}}, {}), ContractError);
  EXPECT_NE(refusal([&] { graph.add("relu", ReluAttrs{}, {7}); }).find("value 7"), std::string::npos);
  EXPECT_THROW(graph.add("relu", ReluAttrs{}, {-1}), ContractError);
  EXPECT_THROW(graph.add("conv", conv(4, 99, 1, 0), {x}), ContractError);
  EXPECT_THROW(graph.set_output(1), ContractError);
  EXPECT_THROW((void)graph.node(1), ContractError);
  EXPECT_THROW((void)graph.at("conv"), ContractError);
  EXPECT_THROW((void)graph.consumers(-1), ContractError);
  EXPECT_EQ(graph.nodes().size(), 1U);
  EXPECT_EQ(graph.output(), x);
}

TEST(Graph, AnEmptyGraphHasNoInputAndNoOutput) {
  EXPECT_THROW((void)Graph().output(), ContractError);
  EXPECT_THROW((void)Graph().input_shape(), ContractError);
}

TEST(Macs, CountConvolutionsAndLinearLayers) {
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{4, 8, 6}}, {});
  x = graph.add("conv", conv(6, 3, 2, 1, 2), {x});  // 6x4x3 outputs of 2 * 9 products
  EXPECT_EQ(macs(graph, graph.node(x)), 6 * 4 * 3 * 2 * 9);
  x = graph.add("relu", ReluAttrs{}, {x});
  EXPECT_EQ(macs(graph, graph.node(x)), 0);
  x = graph.add("pool", GlobalAvgPoolAttrs{}, {x});
  x = graph.add("fc", LinearAttrs{10, true}, {x});
  EXPECT_EQ(macs(graph, graph.node(x)), 60);
  EXPECT_EQ(macs(graph), 6 * 4 * 3 * 2 * 9 + 60);
}

TEST(Macs, RefuseToOverflow) {
  Graph graph;
  const ValueId x = graph.add("input", InputAttrs{{int64_t{1} << 20, 1 << 10, 1 << 10}}, {});
  graph.add("conv", conv(int64_t{1} << 20, 3, 1, 1), {x});  // 2^40 outputs, 9 * 2^20 products each
  EXPECT_THROW((void)macs(graph), ContractError);
}

}  // namespace
}  // namespace elek
