// SPDX-License-Identifier: Apache-2.0
// How reshapes and transposes rename the elements of an image, and the arithmetic on shapes, against values worked out by hand.
#include <gmock/gmock.h>

#include <limits>

#include "models/onnx/axes.h"
#include "models/onnx/fold.h"

namespace elek::onnx {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr ImageShape kImage{6, 2, 3};
const Axis kBatch{{Dim::kBatch, 0, 1}}, kChannels{{Dim::kChannel, 6, 1}}, kRows{{Dim::kRow, 2, 1}},
    kColumns{{Dim::kColumn, 3, 1}};

std::vector<Integer> numbers(const std::vector<int64_t>& values) {
  std::vector<Integer> made;
  for (const int64_t value : values) made.push_back({value, false});
  return made;
}

TEST(OnnxAxes, AReshapeJoinsAndSplitsDigits) {
  const Axes image = image_axes(kImage);
  EXPECT_EQ(image, (Axes{kBatch, kChannels, kRows, kColumns}));
  EXPECT_EQ(reshaped(image, numbers({-1, 36}), {}), feature_axes(kImage));
  EXPECT_EQ(reshaped(image, numbers({0, -1}), {}), feature_axes(kImage));
  EXPECT_EQ(reshaped(image, numbers({0, 0, -1}), {}), (Axes{kBatch, kChannels, {{Dim::kRow, 2, 1}, {Dim::kColumn, 3, 1}}}));
  EXPECT_EQ(reshaped(image, numbers({-1, 2, 3, 2, 3}), {}),
            (Axes{kBatch, {{Dim::kChannel, 2, 3}}, {{Dim::kChannel, 3, 1}}, kRows, kColumns}));
  EXPECT_EQ(reshaped(feature_axes(kImage), numbers({-1, 6, 2, 3}), {}), image) << "and back";
  EXPECT_EQ(reshaped(image, numbers({-1, 4, 9}), {}), std::nullopt) << "4 channels and a half";
  EXPECT_EQ(reshaped(image, numbers({-1, 35}), {}), std::nullopt);
  EXPECT_EQ(reshaped(image, numbers({36, -1}), {}), std::nullopt) << "the batch cannot come last";
  EXPECT_EQ(reshaped(image, numbers({0, 0, 0, 0, 0}), {}), std::nullopt) << "there is no fifth axis to keep";
}

TEST(OnnxAxes, TheBatchIsRecognised) {
  const Axes image = image_axes(kImage), flat = feature_axes(kImage);
  EXPECT_EQ(reshaped(image, {{0, true}, {36, false}}, {}), flat) << "from Shape";
  EXPECT_EQ(reshaped(image, numbers({1, -1}), {}), flat) << "exported with one image";
  EXPECT_EQ(reshaped(image, numbers({4, 36}), 4), flat) << "the file fixes a batch of 4";
  EXPECT_EQ(reshaped(image, numbers({4, 36}), {}), std::nullopt);
  EXPECT_EQ(reshaped(image, numbers({2, 72}), 4), std::nullopt) << "half of the batch goes into the features";
}

TEST(OnnxAxes, OrdersOfChannelsAndElements) {
  // Channel c = 3 a + b is renamed to 2 b + a: the shuffle of two groups.
  const Axis shuffled{{Dim::kChannel, 3, 1}, {Dim::kChannel, 2, 3}};
  EXPECT_THAT(channels_of(shuffled, kImage), Optional(ElementsAre(0, 3, 1, 4, 2, 5)));
  EXPECT_EQ(channels_of(kRows, kImage), std::nullopt);
  EXPECT_EQ(channels_of({{Dim::kChannel, 3, 1}}, kImage), std::nullopt) << "not all of them";
  EXPECT_TRUE(is_image({kBatch, shuffled, kRows, kColumns}, kImage));
  EXPECT_FALSE(is_image({kBatch, kRows, kColumns, kChannels}, kImage));
  const ImageShape small{2, 1, 3};
  const auto last = flattened(channels_last_axes(small), 1);
  ASSERT_TRUE(last);
  EXPECT_THAT(elements_of((*last)[1], small), Optional(ElementsAre(0, 3, 1, 4, 2, 5))) << "column by column, channels inside";
  EXPECT_EQ(resized(channels_last_axes(small), small, {5, 1, 3}), channels_last_axes({5, 1, 3}));
}

TEST(OnnxFold, SlicesGathersAndTransposes) {
  const Integers list{{5}, numbers({10, 11, 12, 13, 14})}, table{{2, 3}, numbers({1, 2, 3, 4, 5, 6})};
  const auto values = [](const Integers& of) {
    std::vector<int64_t> made;
    for (const Integer& each : of.values) made.push_back(each.value);
    return made;
  };
  constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(values(fold::sliced(list, 0, 1, kFar, 2)), ElementsAre(11, 13));
  EXPECT_THAT(values(fold::sliced(list, 0, -2, kFar, 1)), ElementsAre(13, 14));
  EXPECT_THAT(values(fold::sliced(list, 0, -1, -kFar, -1)), ElementsAre(14, 13, 12, 11, 10));
  EXPECT_THAT(values(fold::sliced(list, 0, 0, -1, 1)), ElementsAre(10, 11, 12, 13));
  EXPECT_THAT(values(fold::sliced(list, 0, 3, 1, 1)), ElementsAre());
  EXPECT_THAT(values(fold::sliced(list, 0, 0, 5, kFar)), ElementsAre(10));
  EXPECT_THAT(values(fold::sliced(table, 1, 1, 3, 1)), ElementsAre(2, 3, 5, 6));
  EXPECT_THAT(values(fold::transposed(table, std::vector<int64_t>{1, 0})), ElementsAre(1, 4, 2, 5, 3, 6));
  const Integers picked = fold::gathered(table, 0, {{}, numbers({-1})});
  EXPECT_THAT(values(picked), ElementsAre(4, 5, 6));
  EXPECT_THAT(picked.shape, ElementsAre(3));
  EXPECT_THAT(values(fold::concatenated({table, table}, -1)), ElementsAre(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6));
  EXPECT_THROW((void)fold::gathered(list, 0, {{}, numbers({5})}), Unsupported);
  EXPECT_THROW((void)fold::sliced(list, 0, 0, 5, 0), Unsupported);
}

TEST(OnnxFold, TheBatchStaysUnknown) {
  const Integers batch{{}, {{0, true}}}, one{{}, numbers({1})}, two{{}, numbers({2})};
  using fold::Operation;
  EXPECT_TRUE(fold::combined(Operation::kMultiply, batch, one).values.front().batch);
  EXPECT_TRUE(fold::combined(Operation::kDivide, batch, one).values.front().batch);
  EXPECT_THROW((void)fold::combined(Operation::kMultiply, batch, two), Unsupported);
  EXPECT_THROW((void)fold::combined(Operation::kAdd, batch, one), Unsupported);
  EXPECT_THROW((void)fold::combined(Operation::kDivide, two, {{}, numbers({0})}), Unsupported);
  EXPECT_THROW((void)fold::combined(Operation::kMultiply, {{}, numbers({int64_t{1} << 40})}, {{}, numbers({int64_t{1} << 40})}),
               Unsupported);
  EXPECT_THAT(fold::target_shape({2, 3, 4}, numbers({0, -1}), false), Optional(ElementsAre(2, 12)));
  EXPECT_EQ(fold::target_shape({2, 3}, numbers({-1, -1}), false), std::nullopt);
  EXPECT_EQ(fold::target_shape({2, 3}, numbers({4, 2}), false), std::nullopt);
}

}  // namespace
}  // namespace elek::onnx
