// SPDX-License-Identifier: Apache-2.0
// Keys, pitches and the choice of fused sums: plain host code.
#include "backends/cuda/cudnn/conv_problem.h"

#include <gtest/gtest.h>

#include <set>

#include "core/sums.h"
#include "tests/deviceless/layers.h"

namespace elek::backends::cuda {
namespace {

ConvProblem some() {
  ConvProblem p;
  p.samples = 2;
  p.channels = p.x_pitch = 16;
  p.height = 9;
  p.width = 7;
  p.filters = p.y_pitch = 24;
  p.kernel = 3;
  p.stride = 2;
  p.padding = 1;
  p.epilogue = ConvEpilogue::kFull;
  return p;
}

TEST(ConvProblem, SizesFollowFromItsNumbers) {
  const ConvProblem p = some();
  EXPECT_EQ(p.out_height(), 5);
  EXPECT_EQ(p.out_width(), 4);
  EXPECT_EQ(p.x_bytes(), 2U * 9 * 7 * 16 * 2);
  EXPECT_EQ(p.w_bytes(), 24U * 3 * 3 * 16 * 2);
  EXPECT_EQ(p.y_bytes(), 2U * 5 * 4 * 24 * 2);
}

// Every field that changes the kernel changes the key: a cache that forgets one would run the wrong kernel.
TEST(ConvProblem, EveryFieldIsInTheKey) {
  std::vector<ConvProblem> all(20, some());
  all[1].samples = 3;
  all[2].channels = 8;
  all[3].height = 8;
  all[4].width = 8;
  all[5].filters = 16;
  all[6].kernel = 1;
  all[7].stride = 1;
  all[8].padding = 0;
  all[9].groups = 2;
  all[10].x_pitch = 32;
  all[11].y_pitch = 32;
  all[12].precision = Precision::kBf16;
  all[13].epilogue = ConvEpilogue::kNone;
  all[14].residual = true;
  all[15].relu = true;
  all[16].deterministic = true;
  all[17].sums = 1;
  all[18].precision = Precision::kF32;
  all[19].precision = Precision::kTf32;
  std::set<std::string> keys;
  for (const ConvProblem& p : all) keys.insert(key(p));
  EXPECT_EQ(keys.size(), all.size());
}

TEST(ConvProblem, PitchesAreWholeSixteenBytes) {
  EXPECT_EQ(pitch_of(1, Precision::kF16), 8);
  EXPECT_EQ(pitch_of(8, Precision::kBf16), 8);
  EXPECT_EQ(pitch_of(45, Precision::kF16), 48);
  EXPECT_EQ(pitch_of(3, Precision::kF32), 4);
  EXPECT_EQ(pitch_of(45, Precision::kTf32), 48);
}

TEST(FusedSums, FollowFromTheSets) {
  EXPECT_EQ(fused_sums_for(kActivity, true, 100).value(), kSumY | kSumYSquared | kCountActive);
  EXPECT_EQ(fused_sums_for(kActivity | kMoments | kRange | kAbsolute, true, 100).value(), kEveryFusedSum);
  EXPECT_EQ(fused_sums_for(kMoments, false, 100).value(), kSumY | kSumZ | kSumZSquared);
  EXPECT_FALSE(fused_sums_for(kPerSample, true, 100));
  EXPECT_FALSE(fused_sums_for(kRange, false, 100));
  EXPECT_FALSE(fused_sums_for(kAbsolute, false, 100));
  EXPECT_TRUE(fused_sums_for(kActivity, true, kExactCount));
  EXPECT_FALSE(fused_sums_for(kActivity, true, kExactCount + 1));  // the count would round
  EXPECT_TRUE(fused_sums_for(kMoments, true, kExactCount + 1));
}

TEST(Layers, CountEveryConvolutionOnce) {
  for (const bool pruned : {false, true}) {
    int64_t layers = 0;
    for (const auto& layer : test::layers_of("resnet50", pruned, 32, test::Sums::kAll)) layers += layer.layers;
    EXPECT_EQ(layers, 53);
  }
  for (const auto& layer : test::layers_of("resnet18", true, 32, test::Sums::kNone)) {
    EXPECT_EQ(layer.problem.x_pitch % 8, 0);
    EXPECT_EQ(layer.problem.channels, layer.problem.x_pitch);
    EXPECT_EQ(layer.problem.sums, 0U);
  }
}

}  // namespace
}  // namespace elek::backends::cuda
