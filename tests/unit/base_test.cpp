// SPDX-License-Identifier: Apache-2.0
// core: errors, results, shapes and layouts, warnings, interrupts, random numbers, hashes.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "core/bfloat16.h"
#include "core/error.h"
#include "core/result.h"
#include "core/runtime.h"
#include "elek/types.h"

namespace elek {
namespace {

TEST(Errors, EachTypeHasItsExitCode) {
  EXPECT_EQ(ContractError("x").exit_code(), 1);
  EXPECT_EQ(UsageError("x").exit_code(), 2);
  EXPECT_EQ(InputError("x").exit_code(), 3);
  EXPECT_EQ(OutOfMemory("x", {}).exit_code(), 4);
  EXPECT_EQ(DeviceError("x").exit_code(), 5);
  EXPECT_EQ(Interrupted().exit_code(), 130);
}

TEST(Errors, CheckNamesMessageFileAndCondition) {
  const int channels = 3;
  try {
    ELEK_CHECK(channels == 4, "conv 'a': expected 4 channels, got " + std::to_string(channels));
    FAIL() << "the check should have thrown";
  } catch (const ContractError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find("conv 'a': expected 4 channels, got 3"), 0U) << text;
    EXPECT_NE(text.find("[base_test.cpp:"), std::string::npos) << "the file's name without its folders: " << text;
    EXPECT_NE(text.find("channels == 4"), std::string::npos) << text;
  }
}

TEST(Errors, CheckEvaluatesItsMessageOnlyOnFailure) {
  int evaluated = 0;
  const auto message = [&] {
    ++evaluated;
    return std::string("message");
  };
  ELEK_CHECK(true, message());
  EXPECT_EQ(evaluated, 0);
  EXPECT_THROW(ELEK_CHECK(false, message()), ContractError);
  EXPECT_EQ(evaluated, 1);
}

TEST(Errors, OutOfMemoryShowsWhatItKnows) {
  const OutOfMemory bare("no memory for 'a'", {.requested_bytes = 12, .in_use_bytes = 34, .peak_bytes = 56});
  EXPECT_STREQ(bare.what(), "no memory for 'a': requested 12 bytes, in use 34 bytes");
  const OutOfMemory full("no memory for 'a'", {12, 3'456'789, 56, 78'000'001, 123'456});
  EXPECT_STREQ(full.what(),
               "no memory for 'a': requested 12 bytes, in use 3.46 MB (3,456,789 bytes), limit 78.0 MB (78,000,001 bytes), "
               "largest free block 0.123 MB (123,456 bytes)");
  EXPECT_EQ(full.figures().largest_free_bytes, 123'456U);
}

TEST(Results, HoldAValueOrAReason) {
  const Result<int> yes = 7;
  EXPECT_TRUE(yes);
  EXPECT_EQ(yes.value(), 7);
  EXPECT_EQ(yes.reason(), "");
  const Result<int> no = No{"the group would be emptied"};
  EXPECT_FALSE(no);
  EXPECT_EQ(no.reason(), "the group would be emptied");
  EXPECT_THROW((void)no.value(), ContractError);
}

TEST(Types, SizesAndNamesOfElementTypes) {
  const std::pair<DType, std::pair<size_t, const char*>> table[] = {
      {DType::kF32, {4, "F32"}}, {DType::kF16, {2, "F16"}}, {DType::kBF16, {2, "BF16"}}, {DType::kF64, {8, "F64"}},
      {DType::kI64, {8, "I64"}}, {DType::kI32, {4, "I32"}}, {DType::kU8, {1, "U8"}}};
  for (const auto& [dtype, want] : table) {
    EXPECT_EQ(size_of(dtype), want.first);
    EXPECT_EQ(name_of(dtype), want.second);
  }
}

TEST(Types, ShapesMultiplyAndRefuse) {
  EXPECT_EQ((Shape{2, 3, 4, 5}).elements(), 120);
  EXPECT_EQ(Shape().elements(), 1) << "a scalar";
  EXPECT_EQ(to_string(Shape{64, 3, 7, 7}), "[64, 3, 7, 7]");
  EXPECT_EQ(to_string(Shape()), "[]");
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{2, 3, 1}));
  EXPECT_THROW(Shape({1, 0}), ContractError);
  EXPECT_THROW(Shape({-1}), ContractError);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1}), ContractError);
}

TEST(Types, OverflowIsRefused) {
  constexpr int64_t kBig = int64_t{1} << 32;
  EXPECT_THROW((void)(Shape{kBig, kBig}).elements(), ContractError);
  EXPECT_EQ((Shape{kBig, kBig / 4}).elements(), int64_t{1} << 62);
  EXPECT_THROW((void)checked_bytes(Shape{kBig, kBig / 4}, DType::kF32), ContractError);
  EXPECT_EQ(checked_bytes(Shape{kBig, kBig / 8}, DType::kF16), size_t{1} << 62);
  EXPECT_EQ(checked_bytes(Shape{3, 5}, DType::kF64), 120U);
}

TEST(Types, LayoutsAndImageShapes) {
  EXPECT_EQ(channel_block(Layout::kNchw), 1);
  EXPECT_EQ(channel_block(Layout::kNhwc), 1);
  EXPECT_EQ(channel_block(Layout::kNChw8c), 8);
  EXPECT_EQ(channel_block(Layout::kNChw16c), 16);
  EXPECT_EQ(padded_channels(Layout::kNChw16c, 16), 16);
  EXPECT_EQ(padded_channels(Layout::kNChw16c, 17), 32);
  EXPECT_EQ(padded_channels(Layout::kNChw8c, 1), 8);
  EXPECT_EQ(padded_channels(Layout::kNchw, 37), 37);
  EXPECT_EQ(name_of(Layout::kNChw16c), "nChw16c");
  const ImageShape shape{64, 56, 28};
  EXPECT_EQ(shape.positions(), 56 * 28);
  EXPECT_EQ(shape.elements(), 64 * 56 * 28);
  EXPECT_EQ(to_string(shape), "64x56x28");
  EXPECT_EQ(to_string(Device{}), "cpu");
  EXPECT_EQ(to_string(Device{DeviceKind::kCuda, 1}), "cuda:1");
}

TEST(Runtime, WarningsAreCountedAndWritten) {
  const int64_t before = warnings_so_far();
  ::testing::internal::CaptureStderr();
  warn("the data overlap");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "elek: warning: the data overlap\n");
  EXPECT_EQ(warnings_so_far(), before + 1);
}

TEST(Runtime, InterruptsAreSeenUntilCleared) {
  EXPECT_NO_THROW(throw_if_interrupted());
  request_interrupt();
  EXPECT_THROW(throw_if_interrupted(), Interrupted);
  EXPECT_THROW(throw_if_interrupted(), Interrupted);
  clear_interrupt();
  EXPECT_NO_THROW(throw_if_interrupted());
}

TEST(RandomNumbers, FollowTheReferenceImplementation) {
  // xoshiro256** of its authors' C code, seeded by splitmix64(0).
  Random random(0);
  for (const uint64_t want : {0x99ec5f36cb75f2b4ULL, 0xbf6e1f784956452aULL, 0x1a5f849d4933e6e0ULL, 0x6aa594f1262d2d2cULL}) {
    EXPECT_EQ(random.next(), want);
  }
}

TEST(RandomNumbers, AreTheSameForASeedAndDifferForAnother) {
  Random a(7);
  Random b(7);
  Random c(8);
  bool differs = false;
  for (int i = 0; i < 10; ++i) {
    const uint64_t drawn = a.next();
    EXPECT_EQ(drawn, b.next());
    differs = differs || drawn != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(RandomNumbers, HaveTheMomentsTheyPromise) {
  // Of n draws the mean deviates by less than 5 standard errors: uniform 5 / sqrt(12 n), normal 5 / sqrt(n), its square
  // 5 sqrt(2 / n).
  constexpr int kDraws = 100000;
  Random random(1);
  double uniform = 0;
  double normal = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    uniform += u;
    const double g = random.normal();
    ASSERT_TRUE(std::isfinite(g));
    normal += g;
    squares += g * g;
  }
  EXPECT_NEAR(uniform / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(normal / kDraws, 0, 5 / std::sqrt(1.0 * kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
}

TEST(RandomNumbers, BelowIsInRangeAndEven) {
  Random random(3);
  int counts[3] = {};
  for (int i = 0; i < 30000; ++i) {
    ++counts[random.below(3)];
  }
  for (const int count : counts) {
    EXPECT_NEAR(count, 10000, 5 * std::sqrt(30000 * (1.0 / 3) * (2.0 / 3)));
  }
  EXPECT_EQ(random.below(1), 0U);
  // Above 2^63, where a plain modulus would prefer small numbers two to one: half of the draws must be above the middle.
  const uint64_t bound = (uint64_t{1} << 63) + (uint64_t{1} << 62);
  int high = 0;
  for (int i = 0; i < 10000; ++i) {
    high += random.below(bound) >= bound / 2 ? 1 : 0;
  }
  EXPECT_NEAR(high, 5000, 5 * std::sqrt(10000 * 0.25));
}

TEST(RandomNumbers, PermutationsHoldEveryIndexOnce) {
  Random random(5);
  const std::vector<int64_t> order = random.permutation(100);
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 100U);
  EXPECT_EQ(*std::min_element(order.begin(), order.end()), 0);
  EXPECT_EQ(*std::max_element(order.begin(), order.end()), 99);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  EXPECT_TRUE(random.permutation(0).empty());
  EXPECT_THROW((void)random.permutation(-1), ContractError);
  // Each of the six orders of three comes up a sixth of the time.
  std::map<std::vector<int64_t>, int> seen;
  for (int i = 0; i < 6000; ++i) {
    ++seen[random.permutation(3)];
  }
  EXPECT_EQ(seen.size(), 6U);
  for (const auto& [each, count] : seen) {
    EXPECT_NEAR(count, 1000, 5 * std::sqrt(6000 * (1.0 / 6) * (5.0 / 6)));
  }
}

TEST(Hashes, AreFnv1a) {
  EXPECT_EQ(hash_bytes("", 0), 0xcbf29ce484222325ULL);
  EXPECT_EQ(hash_bytes("a", 1), 0xaf63dc4c8601ec8cULL);  // Noll's published vectors
  EXPECT_EQ(hash_bytes("foobar", 6), 0x85944171f73967e8ULL);
  EXPECT_EQ(hash_bytes("bar", 3, hash_bytes("foo", 3)), hash_bytes("foobar", 6));
  EXPECT_EQ(to_hex(0x85944171f73967e8ULL), "85944171f73967e8");
  EXPECT_EQ(to_hex(10), "000000000000000a");
}

/// Every bf16 value, and f32 values at, below and above the middle between it and the next.
TEST(BFloat16, IsTheNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7f80U; ++bits) {  // positive and finite
    const auto low = std::bit_cast<float>(bits << 16U), middle = std::bit_cast<float>(bits << 16U | 0x8000U);
    ASSERT_EQ(static_cast<float>(BFloat16(low)), low);
    ASSERT_EQ(BFloat16(std::nextafter(middle, 0.0F)).bits, bits) << low;
    ASSERT_EQ(BFloat16(middle).bits, bits + (bits & 1U)) << low;
    ASSERT_EQ(BFloat16(std::nextafter(middle, HUGE_VALF)).bits, bits + 1) << low;
    ASSERT_EQ(BFloat16(-middle).bits, (bits + (bits & 1U)) | 0x8000U) << low;
  }
}

TEST(BFloat16, KeepsNanAndInfinity) {
  EXPECT_EQ(static_cast<float>(BFloat16(HUGE_VALF)), HUGE_VALF);
  EXPECT_EQ(static_cast<float>(BFloat16(-HUGE_VALF)), -HUGE_VALF);
  for (const uint32_t nan : {0x7f800001U, 0x7fffffffU, 0xffffffffU, 0x7fc00000U, 0xff808000U}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(nan))))) << nan;
  }
}

}  // namespace
}  // namespace elek
