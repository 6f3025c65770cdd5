// SPDX-License-Identifier: Apache-2.0
// What an import refuses, and that the message names the cause.
#include <gmock/gmock.h>

#include <functional>
#include <string>

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

std::string refusal(Tensors& tensors, const std::function<void(WeightsOptions&)>& change = {}) {
  const Folder folder;
  WeightsOptions options = options_for(12);
  if (change) change(options);
  return message_of<InputError>([&] { (void)import_weights(tensors.file(folder), options, host_resource()); });
}

TEST(ImportRefuses, NormalisationsThatItDoesNotCompute) {
  Tensors group("cifar_b");
  std::erase_if(group.arrays, [](const auto& each) { return each.first.find("running") != std::string::npos; });
  EXPECT_THAT(refusal(group), AllOf(HasSubstr("no running_mean"), HasSubstr("group norm")));
  Tensors none("cifar_b");
  std::erase_if(none.arrays, [](const auto& each) { return each.first.find("bn1") != std::string::npos; });
  EXPECT_THAT(refusal(none), AllOf(HasSubstr("neither a bias nor a batch norm"), HasSubstr("layer1.0.conv1")));
}

TEST(ImportRefuses, PreActivation) {
  Tensors tensors("cifar_b");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"})
    tensors.add(std::string("layer2.0.bn1.") + part, {3}, 1);
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("pre-activation"), HasSubstr("layer2.0.bn1"), HasSubstr("layer2.0.conv1")));
  Tensors last("cifar_b");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) last.add(std::string("bn.") + part, {6}, 1);
  EXPECT_THAT(refusal(last), AllOf(HasSubstr("\"bn\""), HasSubstr("pre-activation")));
}

TEST(ImportRefuses, AClassifierWithInputsAndOutputsExchanged) {
  Tensors tensors("cifar_b");
  std::swap(tensors.arrays.at("linear.weight").shape[0], tensors.arrays.at("linear.weight").shape[1]);
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("linear.bias"), HasSubstr("[inputs, outputs]"), HasSubstr("transpose it")));
}

TEST(ImportRefuses, HeadsOfSeveralLayers) {
  Tensors tensors("cifar_b");
  tensors.replace("linear.", "fc.0.");
  tensors.add("fc.3.weight", {7, 5});
  tensors.add("fc.3.bias", {7});
  EXPECT_THAT(refusal(tensors), AllOf(HasSubstr("two layers"), HasSubstr("fc.0"), HasSubstr("fc.3")));
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.head = "none";
  const Import features = import_weights(tensors.file(folder), options, host_resource());
  EXPECT_EQ(features.model.graph.node(features.model.graph.output()).shape.channels, 6);
}

TEST(ImportRefuses, HeadsOfSeveralLayersUnlessTheyAreLeftOut) {
  const Folder folder;
  Tensors projector("cifar_b");
  projector.replace("linear.", "g.0.");
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) projector.add(std::string("g.1.") + part, {5}, 1);
  projector.add("g.3.weight", {7, 5});
  EXPECT_THAT(refusal(projector), HasSubstr("two layers"));
  WeightsOptions options = options_for(12);
  options.head = "none";
  const Import features = import_weights(projector.file(folder), options, host_resource());
  EXPECT_EQ(features.model.graph.node(features.model.graph.output()).shape.channels, 6);
  EXPECT_THAT(features.notes, Contains(AllOf(HasSubstr("ignored"), HasSubstr("g.1"), HasSubstr("g.3"))));
}

TEST(ImportRefuses, UnclearHeads) {
  Tensors two("cifar_b");
  two.add("classifier.weight", {4, 6});
  EXPECT_THAT(refusal(two), AllOf(HasSubstr("several layers"), HasSubstr("classifier"), HasSubstr("linear")));
  const Folder folder;
  WeightsOptions options = options_for(12);
  options.head = "classifier";
  EXPECT_EQ(import_weights(two.file(folder), options, host_resource())
                .model.graph.node(import_weights(two.file(folder), options, host_resource()).model.graph.output())
                .shape.channels,
            4);
  Tensors flat("cifar_b");
  flat.arrays.at("linear.weight") = {};
  flat.add("linear.weight", {5, 54});
  EXPECT_THAT(refusal(flat), AllOf(HasSubstr("6 features"), HasSubstr("[5, 54]")));
}

TEST(ImportRefuses, WhatHasNoPlaceInABlock) {
  Tensors prelu("cifar_b");
  prelu.add("layer1.0.prelu.weight", {1});
  EXPECT_THAT(refusal(prelu), AllOf(HasSubstr("layer1.0.prelu"), HasSubstr("PReLU")));
  Tensors eca("cifar_b");
  eca.add("layer1.0.se.conv.weight", {1, 1, 3});
  EXPECT_THAT(refusal(eca), AllOf(HasSubstr("layer1.0.se.conv"), HasSubstr("ECA")));
  Tensors scale("cifar_b");
  scale.add("layer1.0.scale", {1});
  EXPECT_THAT(refusal(scale), HasSubstr("layer1.0.scale"));
}

TEST(ImportRefuses, ConvolutionsOutsideOfBlocks) {
  Tensors between("cifar_b");
  between.add("conv9.weight", {6, 6, 3, 3});
  between.add("conv9.bias", {6});
  EXPECT_THAT(refusal(between), AllOf(HasSubstr("outside of all blocks"), HasSubstr("conv9")));
  Tensors broken("cifar_b");
  broken.arrays.erase("layer2.0.conv1.weight");
  EXPECT_THAT(refusal(broken), AllOf(HasSubstr("Outside of all blocks"), HasSubstr("layer2.0.conv2")));
}

TEST(ImportRefuses, FilesWithoutANetwork) {
  Tensors none("cifar_b");
  none.arrays.clear();
  none.add("a.weight", {3, 4});
  EXPECT_THAT(refusal(none), AllOf(HasSubstr("no weights of convolutions"), HasSubstr("\"a\" [3, 4]")));
  Tensors plain("cifar_b");
  std::erase_if(plain.arrays, [](const auto& each) { return each.first.starts_with("layer"); });
  EXPECT_THAT(refusal(plain), HasSubstr("no residual blocks"));
}

TEST(ImportRefuses, WeightsInParts) {
  Tensors normed("cifar_b");
  normed.replace("layer1.0.conv1.weight", "layer1.0.conv1.weight_v");
  normed.add("layer1.0.conv1.weight_g", {3, 1, 1, 1});
  EXPECT_THAT(refusal(normed), AllOf(HasSubstr("layer1.0.conv1"), HasSubstr("weight normalisation")));
}

TEST(ImportRefuses, WhatTheCallerDoesNotExpect) {
  const auto refused = [](const std::function<void(WeightsOptions&)>& change) {
    Tensors tensors("cifar_b");
    return refusal(tensors, change);
  };
  EXPECT_THAT(refused([](WeightsOptions& o) { o.family = resnet_spec("resnet50"); }),
              AllOf(HasSubstr("expected resnet50"), HasSubstr("found cifar_resnet12"), HasSubstr("2, 2, 1 basic blocks")));
  EXPECT_THAT(message_of<UsageError>([] { (void)import_of("cifar_b", 12, [](WeightsOptions& o) {
                                            o.input = {1, 12, 12};
                                          }); }),
              HasSubstr("1 channels was asked for"));
  EXPECT_THAT(refused([](WeightsOptions& o) { o.stem = Stem::kImageNet; }), HasSubstr("7x7"));
  EXPECT_THAT(refused([](WeightsOptions& o) { o.shortcut = Shortcut::kA; }), HasSubstr("found projections"));
}

TEST(ImportRefuses, AnAveragePoolOverAnOddImage) {
  EXPECT_THAT(message_of<InputError>([] { (void)import_of("timm_resnet_d", 36); }),
              AllOf(HasSubstr("average pool"), HasSubstr("even")));
}

}  // namespace
}  // namespace elek
