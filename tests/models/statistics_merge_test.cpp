// SPDX-License-Identifier: Apache-2.0
// Statistics::merge: sums are added, of maxima the larger is kept (NaN wins). Each refusal has the right message and changes
// nothing.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "elek/statistics.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Two channels with every set; `scale` tells two of them apart.
Statistics sample(double scale) {
  Statistics s;
  s.model_hash = 0xabcd;
  s.kernels = "direct";
  s.data = "images:x";
  s.samples = 10;
  ValueSums& v = s.values["relu"];
  v.channels = 2;
  v.samples = 10;
  v.count = 160;
  v.nonfinite = 1;
  double next = 1;
  for (auto* sums : {&v.sum, &v.sum_sq, &v.z_sum, &v.z_sum_sq, &v.abs_sum, &v.max, &v.mean_peak, &v.mean_sum, &v.mean_sum_sq}) {
    *sums = {scale * next, -scale * next};
    next += 1;
  }
  v.active = {3, 4};
  v.fired = {5, 6};
  s.tap_norms["conv"] = {2, 1, 10, {scale, 2 * scale}};
  return s;
}

TEST(StatisticsMerge, SumsAddAndMaximaCompare) {
  Statistics all = sample(1);
  all.merge(sample(2));
  EXPECT_EQ(all.samples, 20);
  EXPECT_EQ(all.data, "images:x; images:x");
  const ValueSums& v = all.values.at("relu");
  EXPECT_EQ(v.samples, 20);
  EXPECT_EQ(v.count, 320);
  EXPECT_EQ(v.nonfinite, 2);
  EXPECT_THAT(v.sum, ElementsAre(3, -3));
  EXPECT_THAT(v.sum_sq, ElementsAre(6, -6));
  EXPECT_THAT(v.z_sum, ElementsAre(9, -9));
  EXPECT_THAT(v.z_sum_sq, ElementsAre(12, -12));
  EXPECT_THAT(v.abs_sum, ElementsAre(15, -15));
  EXPECT_THAT(v.max, ElementsAre(12, -6));
  EXPECT_THAT(v.mean_peak, ElementsAre(14, -7));
  EXPECT_THAT(v.mean_sum, ElementsAre(24, -24));
  EXPECT_THAT(v.mean_sum_sq, ElementsAre(27, -27));
  EXPECT_THAT(v.active, ElementsAre(6, 8));
  EXPECT_THAT(v.fired, ElementsAre(10, 12));
  EXPECT_THAT(all.tap_norms.at("conv").norm_sq, ElementsAre(3, 6));
  EXPECT_EQ(all.tap_norms.at("conv").samples, 20);
}

TEST(StatisticsMerge, ANanMaximumIsKeptFromEitherSide) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Statistics with = sample(1);
  with.values.at("relu").max = {nan, 1};
  Statistics first = with;
  first.merge(sample(2));
  EXPECT_TRUE(std::isnan(first.values.at("relu").max[0]));
  Statistics second = sample(2);
  second.merge(with);
  EXPECT_TRUE(std::isnan(second.values.at("relu").max[0]));
  EXPECT_EQ(second.values.at("relu").max[1], 1);
}

TEST(StatisticsMerge, OtherKernelsAreNotedOnce) {
  Statistics all = sample(1);
  Statistics other = sample(1);
  other.kernels = "winograd";
  all.merge(other);
  all.merge(other);
  EXPECT_EQ(all.kernels, "direct; winograd");
}

/// All the numbers in it, as one list.
std::vector<double> numbers(const Statistics& s) {
  std::vector<double> all{static_cast<double>(s.samples)};
  const auto add = [&all](const auto& list) { all.insert(all.end(), list.begin(), list.end()); };
  for (const auto& [name, v] : s.values) {
    add(std::vector<int64_t>{v.samples, v.count, v.nonfinite});
    for (const auto* sums :
         {&v.sum, &v.sum_sq, &v.z_sum, &v.z_sum_sq, &v.abs_sum, &v.max, &v.mean_peak, &v.mean_sum, &v.mean_sum_sq}) {
      add(*sums);
    }
    add(v.active);
    add(v.fired);
  }
  for (const auto& [name, norms] : s.tap_norms) add(norms.norm_sq);
  return all;
}

/// The sample and a changed one do not merge, whichever comes first, and the first stays as it was.
void expect_refused(const std::string& says, const std::function<void(Statistics&)>& change) {
  for (const bool changed_first : {false, true}) {
    Statistics mine = sample(1);
    Statistics theirs = sample(2);
    change(changed_first ? mine : theirs);
    const Statistics before = mine;
    EXPECT_THAT(message_of<InputError>([&] { mine.merge(theirs); }), AllOf(HasSubstr("cannot be merged"), HasSubstr(says)));
    EXPECT_EQ(numbers(mine), numbers(before)) << says;
    EXPECT_EQ(mine.kernels + mine.data, before.kernels + before.data) << says;
  }
}

TEST(StatisticsMerge, EveryDifferenceIsRefusedAndChangesNothing) {
  expect_refused("models", [](Statistics& s) { s.model_hash = 0xabce; });
  expect_refused("taps", [](Statistics& s) { s.tap = Tap::kConv; });
  expect_refused("thresholds", [](Statistics& s) { s.threshold = 0.5F; });
  expect_refused("precisions", [](Statistics& s) { s.precision = "bf16"; });
  expect_refused("watched values", [](Statistics& s) { s.values["other"] = s.values.at("relu"); });
  expect_refused("watched inputs", [](Statistics& s) { s.tap_norms["other"] = s.tap_norms.at("conv"); });
  expect_refused("channel counts of 'relu'", [](Statistics& s) { s.values.at("relu").channels = 3; });
  for (std::vector<double> ValueSums::*sums :
       {&ValueSums::sum, &ValueSums::sum_sq, &ValueSums::z_sum, &ValueSums::z_sum_sq, &ValueSums::abs_sum, &ValueSums::max,
        &ValueSums::mean_peak, &ValueSums::mean_sum, &ValueSums::mean_sum_sq}) {
    expect_refused("sets of sums of 'relu'", [sums](Statistics& s) { (s.values.at("relu").*sums).clear(); });
  }
  for (std::vector<int64_t> ValueSums::*counts : {&ValueSums::active, &ValueSums::fired}) {
    expect_refused("sets of sums of 'relu'", [counts](Statistics& s) { (s.values.at("relu").*counts).clear(); });
  }
  expect_refused("channel counts of 'conv'", [](Statistics& s) { s.tap_norms.at("conv").channels = 1; });
  expect_refused("kernel sizes of 'conv'", [](Statistics& s) { s.tap_norms.at("conv").kernel = 3; });
}

TEST(StatisticsMerge, CountsThatWouldOverflowAreRefused) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  expect_refused("2^63", [](Statistics& s) { s.samples = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.values.at("relu").samples = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.values.at("relu").count = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.values.at("relu").nonfinite = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.values.at("relu").active[1] = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.values.at("relu").fired[1] = kMost; });
  expect_refused("2^63", [](Statistics& s) { s.tap_norms.at("conv").samples = kMost; });
}

}  // namespace
}  // namespace elek
