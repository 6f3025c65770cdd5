// SPDX-License-Identifier: Apache-2.0
// Samples in another order: which samples they are, that a shuffle follows its seed and loses nothing, and how many contents
// differ.
#include "data/sample.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

const ImageShape kShape{3, 5, 7};

std::vector<uint64_t> contents(const Dataset& data) {
  std::vector<uint64_t> hashes;
  for (int64_t i = 0; i < data.size(); ++i) hashes.push_back(data.content_hash(i));
  return hashes;
}

TEST(Sample, TheSamplesAskedForInThatOrder) {
  const auto whole = parse_data("synthetic:10:3", kShape);
  const auto some = sample_of(whole, {7, 0, 7});
  ASSERT_EQ(some->size(), 3);
  EXPECT_EQ(some->classes(), whole->classes());
  EXPECT_EQ(some->labels(), whole->labels());
  for (const auto& [index, from] : {std::pair<int64_t, int64_t>{0, 7}, {1, 0}, {2, 7}}) {
    EXPECT_EQ(decode(*some, index, kShape), decode(*whole, from, kShape));
    EXPECT_EQ(some->label(index), whole->label(from));
    EXPECT_EQ(some->name(index), whole->name(from));
    EXPECT_EQ(some->content_hash(index), whole->content_hash(from));
  }
  EXPECT_THROW((void)some->label(3), std::out_of_range);
}

TEST(Sample, TheFirstOnesOrAll) {
  const auto whole = parse_data("synthetic:10:3", kShape);
  const auto four = first_samples(whole, 4);
  ASSERT_EQ(four->size(), 4);
  EXPECT_EQ(four->content_hash(3), whole->content_hash(3));
  for (const int64_t all : {0, 10, 11}) EXPECT_EQ(first_samples(whole, all), whole);
}

TEST(Sample, AShuffleFollowsItsSeedAndLosesNothing) {
  const auto whole = parse_data("synthetic:40:3", kShape);
  const std::vector<uint64_t> in_order = contents(*whole), first = contents(*shuffled_sample(whole, 0, 1));
  EXPECT_NE(first, in_order);
  EXPECT_EQ(contents(*shuffled_sample(whole, 0, 1)), first);
  EXPECT_NE(contents(*shuffled_sample(whole, 0, 2)), first);
  EXPECT_EQ(std::multiset<uint64_t>(first.begin(), first.end()), std::multiset<uint64_t>(in_order.begin(), in_order.end()));
  const std::vector<uint64_t> part = contents(*shuffled_sample(whole, 12, 1));
  EXPECT_EQ(part, std::vector<uint64_t>(first.begin(), first.begin() + 12));
  EXPECT_EQ(contents(*shuffled_sample(whole, 1000, 1)), first);
}

TEST(Sample, PartsOfAShuffleDoNotOverlap) {
  const auto whole = parse_data("synthetic:50:3", kShape);
  const std::vector<uint64_t> first = contents(*shuffled_sample(whole, 20, 9));
  const std::vector<uint64_t> next = contents(*shuffled_part(whole, 20, 25, 9));
  const std::vector<uint64_t> rest = contents(*shuffled_part(whole, 45, 0, 9));
  EXPECT_EQ(next.size(), 25U);
  EXPECT_EQ(rest.size(), 5U);
  std::set<uint64_t> all(first.begin(), first.end());
  all.insert(next.begin(), next.end());
  all.insert(rest.begin(), rest.end());
  EXPECT_EQ(all.size(), 50U);
  EXPECT_EQ(shuffled_part(whole, 60, 0, 9)->size(), 0);
}

TEST(Sample, OtherLabels) {
  const auto whole = parse_data("synthetic:3:3", kShape);
  const auto other = with_labels(whole, {4, 0, 6}, 7);
  EXPECT_EQ(other->classes(), 7);
  EXPECT_TRUE(other->labels().empty());
  EXPECT_EQ(other->label(2), 6);
  EXPECT_EQ(contents(*other), contents(*whole));
  EXPECT_THROW((void)with_labels(whole, {1}, 7), ContractError);
}

TEST(Sample, CopiesCountOnce) {
  const auto whole = parse_data("synthetic:10:3", kShape);
  EXPECT_EQ(different_samples(*whole), 10);
  EXPECT_EQ(different_samples(*sample_of(whole, {1, 2, 1, 1, 2})), 2);
}

}  // namespace
}  // namespace elek::test
