// SPDX-License-Identifier: Apache-2.0
// Networks as exporters write them (tests/fixtures/onnx): the imported graph, computed in double, gives ONNX Runtime's logits.
// And elek's own ONNX files come back as the same network, bit for bit.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "elek/model.h"
#include "models/onnx/import.h"
#include "tests/models/files.h"
#include "tests/support/activation.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek {
namespace {

/// ONNX Runtime adds in f32; elek's own logits are held to the same bound.
constexpr double kBound = 2e-5;

double largest(const std::vector<double>& values) {
  double made = 0;
  for (const double value : values) made = std::max(made, std::fabs(value));
  return made;
}

struct Logits {
  int64_t samples = 0;
  std::vector<double> values;
};

std::map<std::string, Logits> recorded() {
  std::ifstream file(std::string(ELEK_TEST_DATA) + "/onnx/logits.txt");
  std::map<std::string, Logits> made;
  for (std::string line; std::getline(file, line);) {
    std::istringstream text(line);
    std::string name;
    Logits logits;
    text >> name >> logits.samples;
    for (double value = 0; text >> value;) logits.values.push_back(value);
    made[name] = logits;
  }
  return made;
}

Imported imported(const std::string& name) {
  return import_onnx(std::string(ELEK_TEST_DATA) + "/onnx/" + name + ".onnx", {}, host_resource());
}

/// The input of tests/fixtures/scripts/make_onnx_networks.py, as [N, C, H, W]; it is written in the order of the file's input.
std::vector<float> input_values(const ImageShape& shape, int64_t samples, bool channels_last) {
  std::vector<float> made(static_cast<size_t>(samples * shape.elements()));
  for (int64_t i = 0; i < std::ssize(made); ++i) {
    const auto value = static_cast<float>((i * i + 37 * i) % 61 - 30) / 32.0F;
    const int64_t n = i / shape.elements(), rest = i % shape.elements();
    const int64_t c = rest % shape.channels, position = rest / shape.channels;
    const int64_t at = channels_last ? n * shape.elements() + c * shape.positions() + position : i;
    made[static_cast<size_t>(at)] = value;
  }
  return made;
}

class OnnxNetworks : public ::testing::TestWithParam<std::string> {};

TEST_P(OnnxNetworks, GiveTheLogitsOfOnnxRuntime) {
  const Logits want = recorded().at(GetParam());
  const Model model = imported(GetParam()).model;
  const ImageShape shape = model.graph.input_shape();
  std::vector<double> got;
  if (GetParam() == "normalised_inside") {  // it takes bytes; their normalisation has become the model's preprocessing
    std::vector<uint8_t> pixels(static_cast<size_t>(want.samples * shape.elements()));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>((i * i + 89 * i) % 251);
    got = test::run_reference(model, pixels, want.samples).logits();
  } else {
    const std::vector<float> x = input_values(shape, want.samples, GetParam() == "channels_last");
    got = test::run_reference_nchw(model, x, want.samples).logits();
  }
  const auto mismatch = test::compare(got, want.values, kBound * largest(want.values));
  EXPECT_EQ(mismatch.count, 0) << mismatch.message();
}

INSTANTIATE_TEST_SUITE_P(Fixtures, OnnxNetworks, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, logits] : recorded()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& each) { return each.param; });

std::vector<std::string> node_names(const Model& model) {
  std::vector<std::string> names;
  for (const Node& node : model.graph.nodes()) names.push_back(node.name);
  return names;
}

TEST(OnnxImport, LayersAreNamedByTheirWeights) {
  const Model model = imported("residual").model;
  EXPECT_THAT(node_names(model), ::testing::IsSupersetOf({"conv1", "bn1", "layer1.0.conv1", "layer1.0.downsample.1", "fc"}));
  EXPECT_DOUBLE_EQ(model.graph.node(model.graph.at("layer1.0.bn1")).as<BatchNormAttrs>().eps, 1e-3);
  EXPECT_EQ(model.architecture, "residual");
}

TEST(OnnxImport, ChainsBecomeOneOperator) {
  std::map<std::string, int> count;
  const Model model = imported("mobile").model;
  for (const Node& node : model.graph.nodes()) ++count[std::string(op_name(node))];
  EXPECT_EQ(count["hard_swish"], 4);
  EXPECT_EQ(count["silu"], 1);
  EXPECT_EQ(count["sigmoid"], 0) << "its gate belongs to SiLU";
  EXPECT_EQ(count["channel_scale"], 1);
  EXPECT_EQ(count["leaky_relu"], 2);
  EXPECT_EQ(count["clip"], 2) << "ReLU6, and the gate of squeeze and excitation";
}

TEST(OnnxImport, ShortcutsAndShufflesBecomeOneChannelMap) {
  const Model shortcut = imported("option_a").model;
  int maps = 0;
  for (const Node& node : shortcut.graph.nodes()) {
    if (!node.is<ChannelMapAttrs>()) continue;
    if (++maps > 1) continue;
    EXPECT_EQ(node.as<ChannelMapAttrs>(), (ChannelMapAttrs{{-1, -1, 0, 1, 2, 3, -1, -1}, 2}));
  }
  EXPECT_EQ(maps, 2);
  const Model shuffle = imported("shuffled").model;
  for (const Node& node : shuffle.graph.nodes()) {
    if (!node.is<ChannelMapAttrs>()) continue;
    EXPECT_EQ(node.as<ChannelMapAttrs>(), (ChannelMapAttrs{{0, 3, 1, 4, 2, 5}, 1}));
    break;
  }
}

TEST(OnnxImport, SaysWhatItAssumedAndLeftOut) {
  EXPECT_THAT(imported("residual").notes, ::testing::ElementsAre(::testing::HasSubstr("ImageNet's are assumed")));
  EXPECT_THAT(imported("fixed_batch_softmax").notes,
              ::testing::Contains(::testing::HasSubstr("Softmax at the end is left out")));
  EXPECT_THAT(imported("quantized").notes, ::testing::IsSupersetOf({::testing::HasSubstr("weights are recovered as f32"),
                                                                    ::testing::HasSubstr("activations are run in f32")}));
  const Imported inside = imported("normalised_inside");
  EXPECT_THAT(inside.notes, ::testing::Contains(::testing::HasSubstr("assumed: they expect pixels from 0 to 255")));
  EXPECT_NEAR(inside.model.preprocessing.mean[0], 123.0 / 255, 1e-6);
  EXPECT_NEAR(inside.model.preprocessing.stddev[2], 57.0 / 255, 1e-6);
  ImportOptions given;
  given.preprocessing_is_given = true;
  const std::string path = std::string(ELEK_TEST_DATA) + "/onnx/normalised_inside.onnx";
  const Imported kept = import_onnx(path, given, host_resource());
  EXPECT_EQ(kept.model.graph.nodes().size(), inside.model.graph.nodes().size() + 1)
      << "scale and shift stay in the network, as one layer";
}

// ---- elek's own files --------------------------------------------------------------------------------------------------

void expect_comes_back(Model model) {
  const test::Folder folder;
  model.architecture = "a network's name";
  model.preprocessing = {{0.1F, 0.2F, 0.3F}, {0.4F, 0.5F, 0.6F}};
  model.labels = {"first", "second, with a comma"};
  model.labels.resize(static_cast<size_t>(model.graph.node(model.graph.output()).shape.elements()), "another");
  for (const auto& [batch, operator_set] : {std::pair(int64_t{0}, kUsualOnnxSet), {3, kOldestOnnxSet}, {0, kNewestOnnxSet}}) {
    SCOPED_TRACE(operator_set);
    save_onnx(model, folder / "a.onnx", batch, operator_set);
    const Imported back = import_onnx(folder / "a.onnx", {}, host_resource());
    ASSERT_EQ(node_names(back.model), node_names(model));
    for (size_t i = 0; i < model.graph.nodes().size(); ++i) {
      EXPECT_EQ(back.model.graph.nodes()[i].attrs, model.graph.nodes()[i].attrs) << model.graph.nodes()[i].name;
      EXPECT_EQ(back.model.graph.nodes()[i].inputs, model.graph.nodes()[i].inputs) << model.graph.nodes()[i].name;
    }
    EXPECT_EQ(hash(back.model), hash(model)) << "graph, names and the bits of all parameters";
    EXPECT_EQ(back.model.architecture, model.architecture);
    EXPECT_EQ(back.model.labels, model.labels);
    EXPECT_EQ(back.model.preprocessing.mean, model.preprocessing.mean);
    EXPECT_EQ(back.model.preprocessing.stddev, model.preprocessing.stddev);
    EXPECT_THAT(back.notes, ::testing::IsEmpty());
  }
}

Model filled(Graph graph) {
  Model model;
  model.parameters = random_parameters(graph, 5, host_resource());
  model.graph = std::move(graph);
  return model;
}

TEST(OnnxRoundTrip, ResNets) {
  for (const test::TinyShortcut shortcut :
       {test::TinyShortcut::kProjection, test::TinyShortcut::kChannelMap, test::TinyShortcut::kBoth}) {
    test::TinyOptions options;
    options.shortcut = shortcut;
    options.max_pool = shortcut == test::TinyShortcut::kBoth;
    expect_comes_back(test::tiny_resnet(options));
  }
  expect_comes_back(test::tiny_resnet(test::tiny_bottleneck_options()));
  for (const char* arch : {"resnet50", "resnext50_32x4d", "cifar_resnet20"}) {
    ResNetSpec spec = resnet_spec(arch);
    for (int64_t& width : spec.widths) width /= 4;
    spec.input = {3, 49, 35};
    expect_comes_back(filled(build_resnet(spec)));
  }
}

TEST(OnnxRoundTrip, EveryOperator) {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{3, 33, 29}}, {});
  ValueId x = graph.add("conv", Conv2dAttrs{6, 3, 2, 1, 3, true}, {input});
  x = graph.add("depthwise", Conv2dAttrs{6, 3, 1, 1, 6, false}, {x});
  x = graph.add("norm", BatchNormAttrs{1e-3}, {x});
  for (const Attrs& attrs : test::other_activations()) x = graph.add("a" + std::to_string(x), attrs, {x});
  x = graph.add("relu", ReluAttrs{}, {x});
  x = graph.add("max", MaxPoolAttrs{{3, 2, 1}}, {x});
  x = graph.add("avg", AvgPoolAttrs{{3, 1, 1}}, {x});
  x = graph.add("chosen", ChannelMapAttrs{{5, -1, 3, 0}, 1}, {x});
  x = graph.add("again", ChannelMapAttrs{{3, 1, 2, 0}, 2}, {x});
  x = graph.add("wide", Conv2dAttrs{4, {1, 3}, {1, 2}, {0, 1, 0, 2}, 2, false, {1, 2}}, {x});
  x = graph.add("joined", ConcatAttrs{}, {x, x, graph.add("other", Conv2dAttrs{3, 1}, {x})});
  x = graph.add("ceil", MaxPoolAttrs{{2, 2, {0, 0, 1, 0}, true}}, {x});
  x = graph.add("inside", AvgPoolAttrs{{{2, 1}, 1, {1, 0, 0, 0}}, false}, {x});
  const ValueId mean = graph.add("mean", GlobalAvgPoolAttrs{}, {x});
  x = graph.add("scaled", ChannelScaleAttrs{}, {x, mean});
  const ValueId flat = graph.add("flat", FlattenAttrs{}, {x});
  const ValueId hidden = graph.add("hidden", LinearAttrs{4, false}, {flat});
  const ValueId by_mean = graph.add("by_mean", LinearAttrs{4, true}, {mean});
  const ValueId vectors = graph.add("vectors", BatchNormAttrs{}, {graph.add("sum", AddAttrs{}, {hidden, by_mean})});
  const ValueId image = graph.add("image", Conv2dAttrs{4, 1, 1, 0, 1, true}, {vectors});
  graph.add("out", AddAttrs{}, {image, hidden});
  expect_comes_back(filled(std::move(graph)));
}

}  // namespace
}  // namespace elek
