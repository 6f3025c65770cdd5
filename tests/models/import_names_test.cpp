// SPDX-License-Identifier: Apache-2.0
// Names in weights files: a network under any names is the same network, with the same hash.
#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/import.h"
#include "tests/models/import_files.h"

namespace elek {
namespace {

using test::Folder;
using test::import_of;
using test::message_of;
using test::options_for;
using test::Tensors;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

/// The network under other names is the same network.
void expect_same(const std::string& name, Tensors& tensors, const std::string& what,
                 const std::function<void(WeightsOptions&)>& change = {}) {
  const Folder folder;
  WeightsOptions options = options_for(name.starts_with("timm") ? 32 : 12);
  if (change) change(options);
  try {
    const Import import = import_weights(tensors.file(folder), options, host_resource());
    EXPECT_EQ(hash(import.model), hash(import_of(name, options.input->height).model)) << what;
  } catch (const Error& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
}

TEST(ImportNames, AnyPrefix) {
  for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "backbone.", "resnet.",
                             "module.encoder_q.", "state.model.ema_model.module."}) {
    Tensors tensors("cifar_b");
    expect_same("cifar_b", tensors.prefix(prefix), prefix);
  }
}

TEST(ImportNames, TensorsAsPaddleMxnetAndOthersCallThem) {
  Tensors paddle("cifar_b"), mxnet("cifar_b"), upper("cifar_b");
  expect_same("cifar_b", paddle.replace("running_mean", "_mean").replace("running_var", "_variance"), "Paddle");
  mxnet.replace("running_mean", "moving_mean").replace("running_var", "moving_var").rename([](const std::string& name) {
    return (name.find("moving") == std::string::npos ? "arg:" : "aux:") + name;
  });
  expect_same("cifar_b", mxnet, "MXNet");
  upper.rename([](std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    return name;
  });
  expect_same("cifar_b", upper, "upper case");
}

TEST(ImportNames, AnyHead) {
  for (const char* head :
       {"fc.", "classifier.", "head.", "last_linear.", "fc.1.", "head.fc.", "classifier.1.", "output.", "projection."}) {
    Tensors tensors("cifar_b");
    expect_same("cifar_b", tensors.replace("linear.", head), head);
  }
}

using Replacements = std::vector<std::pair<std::string, std::string>>;

void expect_schemes(const std::string& name, const std::map<std::string, Replacements>& schemes) {
  for (const auto& [scheme, replacements] : schemes) {
    Tensors tensors(name);
    for (const auto& [from, to] : replacements) tensors.replace(from, to);
    expect_same(name, tensors, scheme);
  }
}

TEST(ImportNames, SchemesOfBasicBlocks) {
  expect_schemes("cifar_b",
                 {{"torchvision", {{"shortcut.", "downsample."}, {"linear", "fc"}}},
                  {"stem conv, bn",
                   {{"conv1.weight", "CONV"},
                    {"layer", "L"},
                    {"L1.0.CONV", "L1.0.conv1.weight"},
                    {"L1.1.CONV", "L1.1.conv1.weight"},
                    {"L2.0.CONV", "L2.0.conv1.weight"},
                    {"L2.1.CONV", "L2.1.conv1.weight"},
                    {"L3.0.CONV", "L3.0.conv1.weight"},
                    {"CONV", "conv.weight"},
                    {"L", "layer"}}},
                  {"underscores", {{"layer", "stage_"}, {"conv", "conv_"}, {"bn", "bn_"}, {"shortcut.", "shortcut_"}}},
                  {"all underscores", {{".", "_"}}},
                  {"transformers",
                   {{"layer1", "encoder.stages.0.layers"},
                    {"layer2", "encoder.stages.1.layers"},
                    {"layer3", "encoder.stages.2.layers"},
                    {"shortcut.0", "shortcut.convolution"},
                    {"shortcut.1", "shortcut.normalization"},
                    {"s.0.conv1", "s.0.layer.0.convolution"},
                    {"s.0.bn1", "s.0.layer.0.normalization"},
                    {"s.0.conv2", "s.0.layer.1.convolution"},
                    {"s.0.bn2", "s.0.layer.1.normalization"},
                    {"s.1.conv1", "s.1.layer.0.convolution"},
                    {"s.1.bn1", "s.1.layer.0.normalization"},
                    {"s.1.conv2", "s.1.layer.1.convolution"},
                    {"s.1.bn2", "s.1.layer.1.normalization"},
                    {"conv1.", "embedder.embedder.convolution."},
                    {"bn1.", "embedder.embedder.normalization."},
                    {"linear", "classifier.1"}}},
                  {"lists inside blocks",
                   {{"conv1", "residual_function.0"},
                    {"bn1", "residual_function.1"},
                    {"conv2", "residual_function.3"},
                    {"bn2", "residual_function.4"}}},
                  {"left and right",
                   {{"conv1", "left.0"}, {"bn1", "left.1"}, {"conv2", "left.3"}, {"bn2", "left.4"}, {"shortcut", "right"}}},
                  {"convolution inside a unit",
                   {{"conv1", "body.conv1.conv"},
                    {"bn1", "body.conv1.bn"},
                    {"conv2", "body.conv2.conv"},
                    {"bn2", "body.conv2.bn"},
                    {"shortcut.0", "identity_conv.conv"},
                    {"shortcut.1", "identity_conv.bn"}}},
                  {"norm below the convolution",
                   {{"bn1", "conv1.norm"},
                    {"bn2", "conv2.norm"},
                    {"shortcut.0.", "shortcut."},
                    {"shortcut.1.", "shortcut.norm."},
                    {"layer", "res"}}},
                  {"blocks in one list",
                   {{"layer1.", "blocks."}, {"layer2.0", "blocks.2"}, {"layer2.1", "blocks.3"}, {"layer3.0", "blocks.10"}}},
                  {"gamma and beta",
                   {{"bn1.weight", "bn1.gamma"},
                    {"bn1.bias", "bn1.beta"},
                    {"bn2.weight", "bn2.gamma"},
                    {"bn2.bias", "bn2.beta"},
                    {"running_mean", "moving_mean"},
                    {"running_var", "moving_variance"}}},
                  {"camel case",
                   {{"conv1", "firstConv"},
                    {"bn1", "firstNorm"},
                    {"conv2", "secondConv"},
                    {"bn2", "secondNorm"},
                    {"shortcut.0", "projConv"},
                    {"shortcut.1", "projNorm"}}},
                  {"camel case, another order",
                   {{"conv1", "convOuter"},
                    {"bn1", "batchNormOuter"},
                    {"conv2", "convPast"},
                    {"bn2", "batchNormPast"},
                    {"shortcut.0", "shortcutConv"},
                    {"shortcut.1", "shortcutBn"}}},
                  {"expand and project words",
                   {{"conv1", "conv_first"}, {"conv2", "conv_second"}, {"bn1", "bn_first"}, {"bn2", "bn_second"}}}});
}

// Nothing in the names says which batch norm belongs to which convolution, and all have one size.
TEST(ImportNames, WhatOnlyTheOrderShowsIsSaid) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.replace("conv1", "window_left")
      .replace("conv2", "window_right")
      .replace("bn1", "scale_near")
      .replace("bn2", "scale_next");
  expect_same("cifar_b", tensors, "by order");
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  std::vector<std::string> said;
  for (const Assumption& each : import.model.history[0].assumptions) said.push_back(each.value);
  EXPECT_THAT(said, Contains(HasSubstr("batch norm 'layer1.0.scale_near' comes behind 'layer1.0.window_left'")));
  const Import named = import_of("cifar_b");
  for (const Assumption& each : named.model.history[0].assumptions) EXPECT_THAT(each.value, Not(HasSubstr("comes behind")));
}

/// "res3b_branch2c": stage 3 (the second), block b, third convolution. Its batch norm is "bn3b_branch2c".
Replacements caffe_names() {
  Replacements names;
  const std::pair<const char*, const char*> blocks[] = {
      {"layer1.0", "2a"}, {"layer2.0", "3a"}, {"layer2.1", "3b"}, {"layer3.0", "4a"}};
  for (const auto& [layer, block] : blocks) {
    const std::string from = layer, to = block;
    for (const auto& [number, letter] : {std::pair{"1", "a"}, {"2", "b"}, {"3", "c"}}) {
      names.emplace_back(from + ".conv" + number, "res" + to + "_branch2" + letter);
      names.emplace_back(from + ".bn" + number, "bn" + to + "_branch2" + letter);
    }
    names.emplace_back(from + ".shortcut.0", "res" + to + "_branch1");
    names.emplace_back(from + ".shortcut.1", "bn" + to + "_branch1");
  }
  names.emplace_back("bn1.", "bn_conv1.");
  return names;
}

TEST(ImportNames, SchemesOfBottlenecks) {
  expect_schemes("bottleneck", {{"Caffe", caffe_names()},
                                {"Keras",
                                 {{"layer1.0.conv", "conv2_block1_N"},
                                  {"layer1.0.bn", "conv2_block1_B"},
                                  {"N1.", "1_conv."},
                                  {"N2.", "2_conv."},
                                  {"N3.", "3_conv."},
                                  {"B1.", "1_bn."},
                                  {"B2.", "2_bn."},
                                  {"B3.", "3_bn."},
                                  {"layer1.0.shortcut.0", "conv2_block1_0_conv"},
                                  {"layer1.0.shortcut.1", "conv2_block1_0_bn"}}},
                                {"words", {{"conv1.", "conv_reduce."}, {"conv2.", "conv_window."}, {"conv3.", "conv_expand."}}},
                                {"detectron",
                                 {{"layer1", "res2"},
                                  {"layer2", "res3"},
                                  {"layer3", "res4"},
                                  {"bn1", "conv1.norm"},
                                  {"bn2", "conv2.norm"},
                                  {"bn3", "conv3.norm"}}}});
}

TEST(ImportNames, LinearWithoutBiasHasZeros) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.arrays.erase("linear.bias");
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  for (const float value : import.model.parameter("fc.bias").f32()) EXPECT_EQ(value, 0.0F);
}

TEST(ImportNames, WeightsAreMultipliedWithTheirMasks) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.replace("layer1.0.conv1.weight", "layer1.0.conv1.weight_orig");
  tensors.add("layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 0);
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  for (const float value : import.model.parameter("layer1.0.conv1.weight").f32()) EXPECT_EQ(value, 0.0F);
  tensors.add("layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 1);
  expect_same("cifar_b", tensors, "a mask of ones");
  tensors.arrays.erase("layer1.0.conv1.weight_mask");
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options_for(12), host_resource()); }),
              AllOf(HasSubstr("layer1.0.conv1.weight_orig"), HasSubstr("mask is missing")));
}

TEST(ImportNames, ExtrasAreIgnoredAndNamed) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("module.");
  tensors.add("n_averaged", {1});
  tensors.add("module.layer1.0.conv1.total_ops", {1});
  tensors.add("module.layer1.0.conv1.weight_mask", {3, 3, 3, 3}, 1);
  tensors.add("loss.centers", {5, 6});
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(hash(import.model), hash(import_of("cifar_b").model));
  EXPECT_THAT(import.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("n_averaged"), HasSubstr("total_ops"),
                                           HasSubstr("weight_mask"), HasSubstr("loss.centers"))));
}

TEST(ImportNames, RenameDoesTheRest) {
  Tensors tensors("cifar_b");
  tensors.replace("layer2.0.shortcut.0", "somewhere.else");
  tensors.replace("conv1.weight", "conv1.kernel");
  const auto rename = [](WeightsOptions& o) {
    o.renames = {{"somewhere.else", "layer2.0.shortcut.0"},          {"conv1.kernel", "conv1.weight"},
                 {"layer1.0.conv1.kernel", "layer1.0.conv1.weight"}, {"layer1.1.conv1.kernel", "layer1.1.conv1.weight"},
                 {"layer2.0.conv1.kernel", "layer2.0.conv1.weight"}, {"layer2.1.conv1.kernel", "layer2.1.conv1.weight"},
                 {"layer3.0.conv1.kernel", "layer3.0.conv1.weight"}};
  };
  expect_same("cifar_b", tensors, "renamed", rename);
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.renames = {{"somewhere.elze", "x"}};
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); }),
              AllOf(HasSubstr("somewhere.elze"), HasSubstr("somewhere.else")));
}

TEST(ImportNames, SeveralNetworksMustBeChosenFrom) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("model.");
  Tensors average("cifar_b");
  average.prefix("model_ema.");
  tensors.arrays.merge(average.arrays);
  const WeightsOptions options = options_for(12);
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); }),
              AllOf(HasSubstr("2 networks"), HasSubstr("\"model\""), HasSubstr("\"model_ema\"")));
  const WeightsFile average_only = WeightsFile::open(folder / "w.safetensors", "model_ema");
  EXPECT_EQ(hash(import_weights(average_only, options, host_resource()).model), hash(import_of("cifar_b").model));
}

TEST(ImportNames, ANetworkBesideAnotherWithoutAPrefixIsNotTakenSilently) {
  const Folder folder;
  Tensors tensors("cifar_b");
  Tensors average("cifar_b");
  average.prefix("ema.");
  tensors.arrays.merge(average.arrays);
  EXPECT_THAT(message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options_for(12), host_resource()); }),
              AllOf(HasSubstr("2 networks"), HasSubstr("\"ema\""), HasSubstr("without a prefix")));
}

TEST(ImportNames, ABackboneBesideOtherLayersIsTaken) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.prefix("backbone.").replace("backbone.linear", "head.fc");
  tensors.add("neck.lateral.weight", {4, 6, 1, 1});
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(hash(import.model), hash(import_of("cifar_b").model));
  EXPECT_THAT(import.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("neck.lateral"))));
}

TEST(ImportNames, WithoutAClassifierTheFeaturesAreTheOutput) {
  const Folder folder;
  Tensors tensors("cifar_b");
  tensors.arrays.erase("linear.weight");
  tensors.arrays.erase("linear.bias");
  const Import import = import_weights(tensors.file(folder), options_for(12), host_resource());
  EXPECT_EQ(import.model.graph.node(import.model.graph.output()).shape, (ImageShape{6, 1, 1}));
  EXPECT_THAT(import.notes, Contains(HasSubstr("no classifier")));
}

TEST(ImportNames, AClassifierMayBeA1x1Convolution) {
  Tensors tensors("cifar_b");
  tensors.arrays.at("linear.weight").shape = {5, 6, 1, 1};
  expect_same("cifar_b", tensors, "1x1 convolution");
}

}  // namespace
}  // namespace elek
