// SPDX-License-Identifier: Apache-2.0
// ResNet builders: parameter and multiply counts are torchvision's own (0.27, counted on its modules), CIFAR counts are those
// of the common option-A implementation; names, shapes and shortcuts are checked one by one.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "elek/model.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

int64_t learned_parameters(const Graph& graph) {
  int64_t count = 0;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    if (spec.name.find(".running_") == std::string::npos) count += spec.shape.elements();
  }
  return count;
}

struct Counts {
  const char* arch;
  int64_t parameters;
  int64_t macs;
  int64_t tensors;  // of torchvision's state_dict, num_batches_tracked included: one a batch norm
};

class TorchvisionCounts : public ::testing::TestWithParam<Counts> {};

TEST_P(TorchvisionCounts, AreOurs) {
  const Graph graph = build_resnet(resnet_spec(GetParam().arch));
  EXPECT_EQ(learned_parameters(graph), GetParam().parameters);
  EXPECT_EQ(macs(graph), GetParam().macs);
  int64_t tensors = static_cast<int64_t>(required_parameters(graph).size());
  for (const Node& node : graph.nodes()) tensors += node.is<BatchNormAttrs>() ? 1 : 0;
  EXPECT_EQ(tensors, GetParam().tensors);
  EXPECT_EQ(graph.input_shape(), (ImageShape{3, 224, 224}));
  EXPECT_EQ(graph.node(graph.output()).name, "fc");
  EXPECT_EQ(graph.node(graph.output()).shape, (ImageShape{1000, 1, 1}));
  EXPECT_EQ(graph.node(graph.at("maxpool")).shape, (ImageShape{64, 56, 56}));
  EXPECT_EQ(graph.node(graph.at("layer4.0")).shape.height, 7);
}

INSTANTIATE_TEST_SUITE_P(All, TorchvisionCounts,
                         ::testing::Values(Counts{"resnet18", 11689512, 1814073344, 122},            //
                                           Counts{"resnet34", 21797672, 3663761408, 218},            //
                                           Counts{"resnet50", 25557032, 4089184256, 320},            //
                                           Counts{"resnet101", 44549160, 7801405440, 626},           //
                                           Counts{"resnet152", 60192808, 11513626624, 932},          //
                                           Counts{"wide_resnet50_2", 68883240, 11398021120, 320},    //
                                           Counts{"wide_resnet101_2", 126886696, 22753050624, 626},  //
                                           Counts{"resnext50_32x4d", 25028904, 4230479872, 320},     //
                                           Counts{"resnext101_32x8d", 88791336, 16414015488, 626},   //
                                           Counts{"resnext101_64x4d", 83455272, 15460270080, 626}),
                         [](const ::testing::TestParamInfo<Counts>& counts) { return std::string(counts.param.arch); });

TEST(ResNet, CifarCountsOfOptionA) {
  const std::map<std::string, int64_t> expected = {{"cifar_resnet20", 269722},
                                                   {"cifar_resnet32", 464154},
                                                   {"cifar_resnet44", 658586},
                                                   {"cifar_resnet56", 853018},
                                                   {"cifar_resnet110", 1727962}};
  for (const auto& [arch, count] : expected) {
    const Graph graph = build_resnet(resnet_spec(arch));
    EXPECT_EQ(learned_parameters(graph), count) << arch;
    EXPECT_EQ(graph.input_shape(), (ImageShape{3, 32, 32}));
    EXPECT_EQ(graph.node(graph.at("layer3.0")).shape, (ImageShape{64, 8, 8}));
  }
  EXPECT_EQ(resnet_spec("resnet56").name, "cifar_resnet56");
  ResNetSpec projected = resnet_spec("cifar_resnet20");
  projected.shortcut = Shortcut::kB;  // two projections, 16*32 + 32*64 weights, and their batch norms
  EXPECT_EQ(learned_parameters(build_resnet(projected)), 269722 + 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64);
}

TEST(ResNet, OptionAPadsAsTorchDoes) {
  const Graph graph = build_resnet(resnet_spec("cifar_resnet20"));
  EXPECT_EQ(graph.find("layer1.0.shortcut"), -1);
  EXPECT_EQ(graph.find("layer2.1.shortcut"), -1);
  for (const auto& [name, in] : std::map<std::string, int32_t>{{"layer2.0.shortcut", 16}, {"layer3.0.shortcut", 32}}) {
    const auto& map = graph.node(graph.at(name)).as<ChannelMapAttrs>();
    EXPECT_EQ(map.stride, 2);
    ASSERT_EQ(map.source.size(), static_cast<size_t>(2 * in));
    for (int32_t d = 0; d < 2 * in; ++d) {  // F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4))
      const int32_t c = d - 2 * in / 4;
      EXPECT_EQ(map.source[static_cast<size_t>(d)], c >= 0 && c < in ? c : -1) << name << " " << d;
    }
  }
}

TEST(ResNet, NamesAndOrderOfABottleneck) {
  const Graph graph = build_resnet(resnet_spec("resnext50_32x4d"));
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) {
    if (node.name.starts_with("layer2.0")) names.push_back(node.name + ":" + std::string(op_name(node)));
  }
  EXPECT_THAT(names, ::testing::ElementsAre("layer2.0.conv1:conv2d", "layer2.0.bn1:batch_norm", "layer2.0.relu1:relu",
                                            "layer2.0.conv2:conv2d", "layer2.0.bn2:batch_norm", "layer2.0.relu2:relu",
                                            "layer2.0.conv3:conv2d", "layer2.0.bn3:batch_norm", "layer2.0.downsample.0:conv2d",
                                            "layer2.0.downsample.1:batch_norm", "layer2.0.add:add", "layer2.0:relu"));
  const auto& first = graph.node(graph.at("layer2.0.conv1")).as<Conv2dAttrs>();
  const auto& grouped = graph.node(graph.at("layer2.0.conv2")).as<Conv2dAttrs>();
  EXPECT_EQ(first.stride, 1);
  EXPECT_EQ(grouped.stride, 2);  // torchvision's convention
  EXPECT_EQ(grouped.groups, 32);
  EXPECT_EQ(grouped.out_channels, 256);
  EXPECT_EQ(graph.node(graph.at("layer2.0.bn1")).as<BatchNormAttrs>().eps, 1e-5);
  const Node& sum = graph.node(graph.at("layer2.0.add"));
  EXPECT_EQ(graph.node(sum.inputs[0]).name, "layer2.0.bn3");
  EXPECT_EQ(graph.node(sum.inputs[1]).name, "layer2.0.downsample.1");
  EXPECT_EQ(graph.node(graph.node(graph.at("layer2.1.add")).inputs[1]).name, "layer2.0");
}

TEST(ResNet, StemsClassesAndInputSizes) {
  ResNetSpec spec = resnet_spec("resnet18");
  spec.stem = Stem::kCifar;
  spec.classes = 7;
  spec.input = {1, 33, 17};
  const Graph graph = build_resnet(spec);
  EXPECT_EQ(graph.find("maxpool"), -1);
  EXPECT_EQ(graph.node(graph.at("conv1")).as<Conv2dAttrs>().kernel, 3);
  EXPECT_EQ(graph.node(graph.at("layer1.1")).shape, (ImageShape{64, 33, 17}));
  EXPECT_EQ(graph.node(graph.at("layer4.1")).shape, (ImageShape{512, 5, 3}));
  EXPECT_EQ(graph.node(graph.output()).shape.channels, 7);
  spec.shortcut = Shortcut::kA;  // odd sizes: the strided slice keeps ceil(size / 2), as the strided convolution does
  EXPECT_EQ(build_resnet(spec).node(build_resnet(spec).at("layer4.0.shortcut")).shape, (ImageShape{512, 5, 3}));
  spec.input = {1, 1, 1};
  EXPECT_NO_THROW((void)build_resnet(spec));
}

TEST(ResNet, WhatCannotBeBuiltIsAUsageError) {
  EXPECT_THAT(message_of<UsageError>([] { (void)resnet_spec("resnet51"); }),
              AllOf(HasSubstr("resnet51"), HasSubstr("wide_resnet50_2")));
  const auto refused = [](const auto& change) {
    ResNetSpec spec = resnet_spec("resnet50");
    change(spec);
    return message_of<UsageError>([&] { (void)build_resnet(spec); });
  };
  EXPECT_THAT(refused([](ResNetSpec& s) { s.classes = 0; }), HasSubstr("class"));
  EXPECT_THAT(refused([](ResNetSpec& s) { s.input.height = 0; }), HasSubstr("3x0x224"));
  EXPECT_THAT(refused([](ResNetSpec& s) { s.widths[2] = 0; }), HasSubstr("channel"));
  EXPECT_THAT(refused([](ResNetSpec& s) {
                s.shortcut = Shortcut::kA;
                s.widths[3] = 16;
              }),
              HasSubstr("layer4.0"));
}

TEST(RandomParameters, AreSeededFiniteAndOfTheRightSpread) {
  const Graph graph = build_resnet(resnet_spec("cifar_resnet20"));
  const Parameters one = random_parameters(graph, 7, host_resource());
  const Parameters same = random_parameters(graph, 7, host_resource());
  const Parameters other = random_parameters(graph, 8, host_resource());
  Model model{"cifar_resnet20", graph, one, default_preprocessing(3), {}, {}};
  EXPECT_NO_THROW(validate(model, "random"));
  const auto values = [](const Parameters& parameters, const std::string& name) { return parameters.at(name)->f32(); };
  for (const auto& [name, tensor] : one) {
    EXPECT_EQ(std::memcmp(tensor->data(), same.at(name)->data(), tensor->bytes()), 0) << name;
    EXPECT_NE(std::memcmp(tensor->data(), other.at(name)->data(), tensor->bytes()), 0) << name;
  }
  const std::span<const float> conv = values(one, "layer3.1.conv1.weight");
  double sum = 0;
  double squares = 0;
  for (const float w : conv) {
    sum += static_cast<double>(w);
    squares += static_cast<double>(w) * static_cast<double>(w);
  }
  const auto n = static_cast<double>(conv.size());
  const double variance = 2.0 / (64 * 9);
  EXPECT_LE(std::fabs(sum / n), 5 * std::sqrt(variance / n));                       // five standard errors of a mean
  EXPECT_LE(std::fabs(squares / n - variance), 5 * variance * std::sqrt(2.0 / n));  // and of a normal's variance
  for (const float v : values(one, "layer1.0.bn1.weight")) EXPECT_TRUE(v >= 0.5F && v < 1.5F) << v;
  for (const float v : values(one, "layer1.0.bn2.weight")) EXPECT_TRUE(v >= 0.1F && v < 0.4F) << v;
  for (const float v : values(one, "bn1.running_var")) EXPECT_TRUE(v >= 0.5F && v < 1.5F) << v;
  EXPECT_NE(values(one, "bn1.bias")[0], 0.0F);
  EXPECT_NE(values(one, "bn1.running_mean")[0], values(one, "bn1.bias")[0]);
}

TEST(DefaultPreprocessing, IsImageNetsForColour) {
  EXPECT_EQ(default_preprocessing(3).mean, (std::vector<float>{0.485F, 0.456F, 0.406F}));
  EXPECT_EQ(default_preprocessing(3).stddev, (std::vector<float>{0.229F, 0.224F, 0.225F}));
  EXPECT_EQ(default_preprocessing(1).mean, std::vector<float>{0.5F});
  EXPECT_EQ(default_preprocessing(2).stddev, (std::vector<float>{0.5F, 0.5F}));
}

}  // namespace
}  // namespace elek
