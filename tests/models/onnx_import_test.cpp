// SPDX-License-Identifier: Apache-2.0
// What the importer refuses, and how it says so: operators that elek does not have, all at once; damaged and hostile files,
// each within a second. Networks that it takes: onnx_networks_test.cpp.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>

#include "core/hint.h"
#include "elek/model.h"
#include "tests/models/files.h"
#include "tests/models/onnx_files.h"
#include "tests/support/reference.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

/// The refusal's text. It may take a second of the processor's time: other programs do not count.
std::string refusal(const OnnxFile& file, const ImportOptions& options = {}) {
  const std::clock_t before = std::clock();
  std::string message = message_of<InputError>([&] { (void)file.import(options); });
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 1.0);
  EXPECT_THAT(message, HasSubstr("net.onnx: "));
  return message;
}

OnnxFile with_input(int64_t channels = 2) { return OnnxFile().input("x", {channels, 4, 4}); }

/// x, a 1x1 convolution to 2 channels called conv, and a head on `last`.
OnnxFile with_conv(const std::string& last) {
  OnnxFile file = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
  return file.head(last, 2);
}

TEST(OnnxRefuses, EveryUnsupportedNodeAtOnce) {
  OnnxFile file = with_input();
  file.node("Resize", {"x"}, {"big"}).node("LRN", {"big"}, {"norm"}).node("Resize", {"norm"}, {"bigger"});
  file.node("Conv", {"bigger", "x"}, {"odd"}).node("Conv", {"x", "x"}, {"dynamic"}).node("Relu", {"unused"}, {"not_needed"});
  file.node("Concat", {"odd", "dynamic"}, {"both"}, {onnx_int("axis", 1)}).head("both", 2);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("does not have 4 nodes"), HasSubstr("Resize: \"big\", \"bigger\""),
                                   HasSubstr("LRN: \"norm\""), HasSubstr("Conv (its input 1 is not a constant): \"dynamic\""),
                                   Not(HasSubstr("odd")), Not(HasSubstr("not_needed"))));
}

TEST(OnnxRefuses, WhatOperatorsCannotDo) {
  const auto why = [](const OnnxFile& file) { return refusal(file); };
  EXPECT_THAT(why(with_input().weights("w", {2, 2, 1, 1}).node("ConvTranspose", {"x", "w"}, {"y"}).head("y", 2)),
              HasSubstr("ConvTranspose: \"y\""));
  const auto node = [&](const std::string& op, const std::vector<std::string>& more, const std::vector<Message>& attributes) {
    OnnxFile file = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
    std::vector<std::string> inputs{"conv"};
    inputs.insert(inputs.end(), more.begin(), more.end());
    file.weights("two", {2}).weights("one", {1}).ints("axes", {1}).weights("grid", {2, 4, 4}).weights("slopes", {2, 1, 1});
    return why(file.node(op, inputs, {"y"}, attributes).head("y", 2));
  };
  EXPECT_THAT(node("Softmax", {}, {}), HasSubstr("Softmax (not at the end of the network)"));
  EXPECT_THAT(node("Add", {"grid"}, {}), HasSubstr("one for each channel"));
  EXPECT_THAT(node("PRelu", {"slopes"}, {}), HasSubstr("a slope for each channel"));
  EXPECT_THAT(node("ReduceMean", {"axes"}, {}), HasSubstr("not over exactly the rows and columns"));
  EXPECT_THAT(node("BatchNormalization", {"two", "two", "two", "two"}, {onnx_int("training_mode", 1)}),
              HasSubstr("in training mode"));
  EXPECT_THAT(node("Pad", {}, {onnx_ints("pads", {0, 0, 1, 1, 0, 0, 1, 1})}), HasSubstr("reads the zeros of a Pad"));
  EXPECT_THAT(node("Pad", {}, {onnx_text("mode", "reflect")}), HasSubstr("mode reflect"));
  EXPECT_THAT(node("Mul", {"conv"}, {}), HasSubstr("Mul (of 2x4x4 and 2x4x4)"));
  EXPECT_THAT(node("Transpose", {}, {onnx_ints("perm", {0, 0, 1, 2})}), HasSubstr("no order of the axes"));
}

/// Zeros before a max pool are not -infinity.
TEST(OnnxRefuses, ZerosAroundValuesThatMayBeNegative) {
  const auto file = [](const std::string& rectified) {
    OnnxFile made = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
    made.node("Relu", {"conv"}, {"relu"}).node("Pad", {rectified}, {"padded"}, {onnx_ints("pads", {0, 0, 1, 1, 0, 0, 1, 1})});
    return made.node("MaxPool", {"padded"}, {"y"}, {onnx_ints("kernel_shape", {3, 3}), onnx_ints("strides", {2, 2})})
        .head("y", 2);
  };
  EXPECT_THAT(refusal(file("conv")), HasSubstr("may be negative"));
  const Model model = file("relu").import().model;
  EXPECT_EQ(model.graph.node(model.graph.at("y")).shape, (ImageShape{2, 2, 2}));
}

/// The last window of a pool that rounds up may begin in the zeros behind the image: here at row 4 of 4 + 1.
TEST(OnnxRefuses, RoundingUpOverZeros) {
  const auto file = [](const std::vector<int64_t>& pads) {
    OnnxFile made = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
    made.node("Relu", {"conv"}, {"relu"}).node("Pad", {"relu"}, {"padded"}, {onnx_ints("pads", pads)});
    return made
        .node("MaxPool", {"padded"}, {"y"},
              {onnx_ints("kernel_shape", {2, 2}), onnx_ints("strides", {2, 2}), onnx_int("ceil_mode", 1)})
        .head("y", 2);
  };
  EXPECT_THAT(refusal(file({0, 0, 0, 0, 0, 0, 1, 1})), HasSubstr("MaxPool (ceil_mode over the zeros of a Pad)"));
  const Model model = file({0, 0, 1, 1, 0, 0, 0, 0}).import().model;
  EXPECT_EQ(model.graph.node(model.graph.at("y")).shape, (ImageShape{2, 3, 3}));
}

TEST(OnnxRefuses, InputsAndOutputsThatAreNoClassifiers) {
  EXPECT_THAT(refusal(with_input().output("x")), HasSubstr("an image of 2x4x4"));
  EXPECT_THAT(refusal(OnnxFile().input("a", {2, 4, 4}).input("b", {2, 4, 4}).node("Add", {"a", "b"}, {"y"}).head("y", 2)),
              HasSubstr("\"a\", \"b\""));
  EXPECT_THAT(refusal(OnnxFile().weights("w", {3}).node("Identity", {"w"}, {"y"}).output("y")),
              HasSubstr("does not depend on an input"));
  EXPECT_THAT(refusal(OnnxFile().input("x", {4, 4}).node("Relu", {"x"}, {"y"}).head("y", 2)), HasSubstr("3 dimensions"));
  OnnxFile two = with_conv("conv");
  two.output("pool");
  EXPECT_THAT(two.import().notes, Contains(HasSubstr("the file has 2 outputs: the first, \"logits\", is assumed")));
}

TEST(OnnxRefuses, AnOpenInputSizeUnlessItIsGiven) {
  const OnnxFile file = OnnxFile()
                            .input("x", {0, 0, 0})
                            .weights("conv.weight", {2, 3, 1, 1})
                            .node("Conv", {"x", "conv.weight"}, {"conv"})
                            .head("conv", 2);
  try {
    (void)file.import();
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_EQ(hint_of(error), Hint::kInputSize);
  }
  ImportOptions options;
  options.input = ImageShape{3, 9, 7};
  EXPECT_EQ(file.import(options).model.graph.input_shape(), *options.input);
  options.input = ImageShape{4, 9, 7};
  EXPECT_THAT(refusal(file, options), HasSubstr("its input is 3x0x0 (0 = open), not 4x9x7"));
}

// ---- damaged and hostile files -----------------------------------------------------------------------------------------

TEST(OnnxRefuses, AFileThatEndsAnywhere) {
  const std::string bytes = with_conv("conv").bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto part = std::as_bytes(std::span(bytes)).first(size);
    EXPECT_THROW((void)import_onnx(MappedFile::in_memory(part, "net.onnx"), {}, host_resource()), InputError) << size;
  }
}

TEST(OnnxRefuses, CyclesAndValuesMadeTwice) {
  EXPECT_THAT(refusal(with_input().node("Add", {"x", "b"}, {"a"}).node("Relu", {"a"}, {"b"}).head("b", 2)),
              HasSubstr("cycle or out of order"));
  EXPECT_THAT(refusal(with_input().node("Relu", {"a"}, {"a"}).head("a", 2)), HasSubstr("does not depend on an input"));
  EXPECT_THAT(refusal(with_conv("conv").node("Relu", {"x"}, {"conv"})), HasSubstr("two nodes make the value \"conv\""));
}

TEST(OnnxRefuses, ShapesThatAreNotThere) {
  const auto conv = [](const std::vector<int64_t>& dims) {
    return with_input().tensor("w", 1, dims, std::string(16, '\1')).node("Conv", {"x", "w"}, {"y"}).head("y", 2);
  };
  EXPECT_THAT(refusal(conv({int64_t{1} << 62, 1 << 20, 3, 3})), HasSubstr("more elements than fit in memory"));
  EXPECT_THAT(refusal(conv({std::numeric_limits<int64_t>::max(), 2, 1, 1})), HasSubstr("more elements than fit in memory"));
  EXPECT_THAT(refusal(conv({-2, 2, 1, 1})), HasSubstr("negative dimension"));
  EXPECT_THAT(refusal(conv({3, 2, 1, 1})), HasSubstr("takes 24 bytes, the file holds 16"));
  EXPECT_THAT(refusal(conv({int64_t{1} << 40, 0, 3, 3})), HasSubstr("more elements than fit in memory"));
  EXPECT_THAT(refusal(conv({1, 1, 1, 1, 1, 1, 1, 1, 4})), HasSubstr("more than 8 dimensions"));
  EXPECT_THAT(refusal(OnnxFile().input("x", {2, int64_t{1} << 40, 4}).node("Relu", {"x"}, {"y"}).head("y", 2)),
              HasSubstr("is too large"));
  EXPECT_THAT(refusal(with_input().tensor("w", 8, {2, 2, 1, 1}, "abcd").node("Conv", {"x", "w"}, {"y"}).head("y", 2)),
              HasSubstr("element type"));
  EXPECT_THAT(refusal(with_conv("conv").node("Relu", {"conv"}, {std::string("a\0b", 3)})), HasSubstr("a byte that is no text"));
  EXPECT_THAT(refusal(with_conv("conv").node("Relu", {"conv"}, {std::string(1000, 'a')})), HasSubstr("a name of 1000 bytes"));
}

TEST(OnnxRefuses, AMillionTensorsOrNodes) {
  OnnxFile tensors, nodes = with_input(), deep = with_input();
  for (int i = 0; i < 1'000'000; ++i) tensors.initialiser(Message().integer(1, 1).integer(2, 1).text(8, std::to_string(i)));
  EXPECT_THAT(refusal(tensors), HasSubstr("more than 100000 initialisers"));
  for (int i = 0; i < 1'000'000; ++i) nodes.node("Relu", {"x"}, {std::to_string(i)});
  EXPECT_THAT(refusal(nodes), HasSubstr("more than 100000 nodes"));
  std::string last = "x";
  for (int i = 0; i < 50'000; ++i) {
    deep.node("Relu", {last}, {std::to_string(i)});
    last = std::to_string(i);
  }
  EXPECT_THAT(refusal(deep.head(last, 2)), HasSubstr("more than 4096 nodes"));
}

/// One tensor of 4 MB that a thousand layers would each copy.
TEST(OnnxRefuses, WeightsThatGrowWithoutBound) {
  OnnxFile file = OnnxFile().input("x", {1024, 1, 1}).weights("w", {1024, 1024, 1, 1});
  std::string last = "x";
  for (int i = 0; i < 1000; ++i) {
    file.node("Conv", {last, "w"}, {std::to_string(i)});
    last = std::to_string(i);
  }
  EXPECT_THAT(refusal(file.head(last, 1024)), HasSubstr("use the same weights so often"));
}

TEST(OnnxExternalData, MustLieBesideTheNetwork) {
  const Folder folder;
  write_all(folder / "w.bin", std::string(8, '\0') + std::string(16, '\0'));
  const auto load = [&](const std::string& location, const std::string& offset, const std::string& length) {
    Message tensor =
        Message().integer(1, 2).integer(1, 2).integer(1, 1).integer(1, 1).integer(2, 1).text(8, "w").integer(14, 1);
    tensor.message(13, Message().text(1, "location").text(2, location))
        .message(13, Message().text(1, "offset").text(2, offset));
    if (!length.empty()) tensor.message(13, Message().text(1, "length").text(2, length));
    write_all(folder / "net.onnx", with_input().initialiser(tensor).node("Conv", {"x", "w"}, {"y"}).head("y", 2).bytes());
    return import_onnx(folder / "net.onnx", {}, host_resource());
  };
  EXPECT_NO_THROW((void)load("w.bin", "8", "16"));
  EXPECT_NO_THROW((void)load("./w.bin", "0", ""));
  const auto message = [&](const std::string& location, const std::string& offset, const std::string& length) {
    return message_of<InputError>([&] { (void)load(location, offset, length); });
  };
  for (const std::string& location :
       {std::string("../w.bin"), std::string("a/../../w.bin"), folder / "w.bin", std::string(), std::string("w.bin\0x", 7)}) {
    EXPECT_THAT(message(location, "0", "16"), HasSubstr("expected a file beside the network")) << location;
  }
  EXPECT_THAT(message("absent.bin", "0", "16"), HasSubstr("absent.bin"));
  EXPECT_THAT(message("w.bin", "9", "16"), HasSubstr("which holds 24"));
  EXPECT_THAT(message("w.bin", "18446744073709551615", "2"), HasSubstr("which holds 24"));
  EXPECT_THAT(message("w.bin", "-1", "16"), HasSubstr("expected a number"));
  EXPECT_THAT(message("w.bin", "0", "12"), HasSubstr("takes 16 bytes, the file holds 12"));
}

// ---- small things that are taken ---------------------------------------------------------------------------------------

double first_logit(const Model& model) {
  const std::vector<float> x(static_cast<size_t>(model.graph.input_shape().elements()), 0.5F);
  return run_reference_nchw(model, x, 1).logits().front();
}

/// A scale behind a layer goes into its weights; one behind an activation becomes a layer of its own; never a batch norm.
TEST(OnnxImport, ScalesGoIntoTheLayerBefore) {
  const auto file = [](const std::string& from) {
    OnnxFile made = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
    made.node("Sigmoid", {"conv"}, {"sigmoid"}).floats("three", {}, {3}).floats("shift", {2, 1, 1}, {1, -1});
    return made.node("Mul", {"three", from}, {"m"}).node("Add", {"m", "shift"}, {"y"}).head("y", 2);
  };
  const Model absorbed = file("conv").import().model, apart = file("sigmoid").import().model;
  const auto count = [](const Model& model, std::string_view op) {
    return std::count_if(model.graph.nodes().begin(), model.graph.nodes().end(),
                         [&](const Node& node) { return op_name(node) == op; });
  };
  EXPECT_EQ(count(absorbed, "conv2d"), 1);
  EXPECT_EQ(count(apart, "conv2d"), 2) << "one for the scale, which takes in the shift";
  EXPECT_EQ(count(apart, "batch_norm"), 0);
  // conv of 0.5: rows (0.5, 0.25) and (-0.5, -0.5) of the weights give 0.375 and -0.5; the head's first row is (0.5, 0.25).
  const auto weight = absorbed.parameter("conv.weight").f32();
  EXPECT_EQ(std::vector<float>(weight.begin(), weight.end()), (std::vector<float>{1.5F, 0.75F, -1.5F, -1.5F}));
  EXPECT_NEAR(first_logit(absorbed), 0.5 * (3 * 0.375 + 1) + 0.25 * (3 * -0.5 - 1), 1e-6);
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  EXPECT_NEAR(first_logit(apart), 0.5 * (3 * sigmoid(0.375) + 1) + 0.25 * (3 * sigmoid(-0.5) - 1), 1e-6);
}

/// A 1x1 convolution of zeros and ones copies channels. Other weights, a bias or groups make it a layer.
TEST(OnnxImport, ConvolutionsThatOnlyCopyChannelsAreChannelMaps) {
  const auto model_of = [](const std::vector<float>& weights, const std::string& name, const std::string& producer,
                           const std::vector<std::string>& more = {}, const std::vector<Message>& attributes = {}) {
    OnnxFile file = with_input().floats(name, {3, std::ssize(weights) / 3, 1, 1}, weights).weights("b", {3}).producer(producer);
    std::vector<std::string> inputs{"x", name};
    inputs.insert(inputs.end(), more.begin(), more.end());
    return file.node("Conv", inputs, {"y"}, attributes).head("y", 3).import().model;
  };
  const std::vector<float> chosen{0, 1, 0, 0, 1, 0};
  for (const auto& [name, producer] : {std::pair("w", "pytorch"), std::pair("y/selection", "elek")}) {
    const Model model = model_of(chosen, name, producer, {}, {onnx_ints("strides", {2, 2})});
    const Node& node = model.graph.node(model.graph.at("y"));
    ASSERT_TRUE(node.is<ChannelMapAttrs>()) << producer;
    EXPECT_EQ(node.as<ChannelMapAttrs>().source, (std::vector<int32_t>{1, -1, 0}));
    EXPECT_EQ(node.as<ChannelMapAttrs>().stride, 2);
    EXPECT_EQ(node.shape, (ImageShape{3, 2, 2}));
  }
  const auto is_layer = [](const Model& model) {
    const auto& nodes = model.graph.nodes();
    return std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.is<Conv2dAttrs>(); });
  };
  EXPECT_TRUE(is_layer(model_of(chosen, "w", "elek")));  // a layer that was trained or cut to these weights
  EXPECT_TRUE(is_layer(model_of({0, 1, 0, 0.5F, 1, 0}, "w", "pytorch")));
  EXPECT_TRUE(is_layer(model_of({0, 1, 1, 1, 1, 0}, "w", "pytorch")));
  EXPECT_TRUE(is_layer(model_of({0, 1, 0, -1, 1, 0}, "w", "pytorch")));
  EXPECT_TRUE(is_layer(model_of(chosen, "w", "pytorch", {"b"})));
  EXPECT_TRUE(is_layer(model_of(chosen, "w", "pytorch", {}, {onnx_ints("strides", {2, 1})})));
  EXPECT_TRUE(is_layer(model_of(chosen, "w", "pytorch", {}, {onnx_ints("pads", {1, 1, 1, 1})})));
}

TEST(OnnxImport, ClipWithOneBoundAndMaxAreRectifiers) {
  OnnxFile file = with_input().weights("conv.weight", {2, 2, 1, 1}).node("Conv", {"x", "conv.weight"}, {"conv"});
  file.floats("zero", {}, {0})
      .node("Clip", {"conv", "zero"}, {"a"})
      .node("Max", {"zero", "a"}, {"b"})
      .node("Clip", {"b"}, {"c"});
  const Model model = file.floats("six", {1}, {6}).node("Min", {"c", "six"}, {"d"}).head("d", 2).import().model;
  EXPECT_TRUE(model.graph.node(model.graph.at("a")).is<ReluAttrs>());
  EXPECT_TRUE(model.graph.node(model.graph.at("b")).is<ReluAttrs>());
  EXPECT_EQ(model.graph.find("c"), -1) << "without bounds it does nothing";
  EXPECT_EQ(model.graph.node(model.graph.at("d")).as<ClipAttrs>().high, 6);
}

TEST(OnnxImport, MetadataOfElekIsTakenOnlyWhole) {
  const auto file = [](const std::string& mean) {
    return with_conv("conv").metadata("elek.mean", mean).metadata("elek.std", "0.5,0.25").metadata("elek.labels", "one\ntwo");
  };
  EXPECT_THAT(file("0.1,0.2").import().model.preprocessing.mean, ::testing::ElementsAre(0.1F, 0.2F));
  EXPECT_THAT(file("0.1,0.2").import().model.labels, ::testing::IsEmpty()) << "two names for three classes";
  EXPECT_THAT(file("0.1").import().notes, Contains(HasSubstr("0.5 and 0.5 are assumed")));
}

}  // namespace
}  // namespace elek::test
