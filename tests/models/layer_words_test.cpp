// SPDX-License-Identifier: Apache-2.0
// Names of layers as words: order, kinds, shortcuts, nearest names.
#include "models/layer_words.h"

#include <gmock/gmock.h>

namespace elek::detail {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(LayerWords, Split) {
  EXPECT_THAT(words_of("layer1.0.conv_1"), ElementsAre("layer1", "0", "conv", "1"));
  EXPECT_THAT(words_of("..a//b:c_"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(words_of(std::string(200000, '.')), SizeIs(0));
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "a.";
  EXPECT_THAT(words_of(deep), SizeIs(64));
  EXPECT_EQ(path_of("module.layer1_0.conv1", 3), "module.layer1_0");
  EXPECT_EQ(path_of("module", 0), "");
}

TEST(LayerWords, NumbersAreComparedAsNumbers) {
  EXPECT_LT(compare(words_of("layer1.9"), words_of("layer1.10")), 0);
  EXPECT_LT(compare(words_of("res3b2"), words_of("res3b11")), 0);
  EXPECT_LT(compare(words_of("conv1"), words_of("conv1.norm")), 0);
  EXPECT_EQ(compare_words("a007", "a7"), 0);
  EXPECT_GT(compare_words("a123456789012345678901234567890", "a9"), 0);
}

TEST(LayerWords, WhichNamesShowAnOrder) {
  EXPECT_TRUE(shows_order(words_of("b.conv1"), words_of("b.conv2")));
  EXPECT_TRUE(shows_order(words_of("b.branch2a"), words_of("b.branch2b")));
  EXPECT_TRUE(shows_order(words_of("b.0"), words_of("b.3")));
  EXPECT_TRUE(shows_order(words_of("conv"), words_of("conv2")));
  EXPECT_FALSE(shows_order(words_of("b.first"), words_of("b.second")));
  EXPECT_FALSE(shows_order(words_of("b.expand"), words_of("b.project")));
}

TEST(LayerWords, TheKindIsLeftOut) {
  EXPECT_EQ(without_kind(words_of("conv1")), without_kind(words_of("bn1")));
  EXPECT_EQ(without_kind(words_of("x.convolution")), without_kind(words_of("x.normalization")));
  EXPECT_EQ(without_kind(words_of("conv1.conv")), without_kind(words_of("conv1.bn")));
  EXPECT_EQ(without_kind(words_of("conv_1")), without_kind(words_of("batch_norm_1")));
  EXPECT_NE(without_kind(words_of("conv1")), without_kind(words_of("bn2")));
  EXPECT_EQ(without_kind(words_of("firstConv")), without_kind(words_of("firstNorm")));
  EXPECT_EQ(without_kind(words_of("convFirst")), without_kind(words_of("batchNormFirst")));
  EXPECT_EQ(without_kind(words_of("conv1Inner")), without_kind(words_of("bn1Inner")));
  EXPECT_NE(without_kind(words_of("firstConv")), without_kind(words_of("secondNorm")));
}

TEST(LayerWords, Shortcuts) {
  for (const char* name : {"downsample.0", "shortcut", "skip_conv", "identity_conv.conv", "branch1", "proj", "residual.0",
                           "projConv", "convShortcut"}) {
    EXPECT_TRUE(names_shortcut(words_of(name))) << name;
  }
  for (const char* name : {"conv1", "residual_function.0", "branch2a", "project_out", "residualFunction.0"})
    EXPECT_FALSE(names_shortcut(words_of(name))) << name;
  EXPECT_TRUE(names_squeeze(words_of("se.fc1")));
  EXPECT_TRUE(names_squeeze(words_of("se_module.fc1")));
  EXPECT_FALSE(names_squeeze(words_of("seq.0")));
}

TEST(LayerWords, NearestNames) {
  EXPECT_THAT(nearest_names("conv1.wieght", {"bn1.weight", "conv1.weight", "x"}, 2), ElementsAre("conv1.weight", "bn1.weight"));
}

}  // namespace
}  // namespace elek::detail
