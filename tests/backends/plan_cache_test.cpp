// SPDX-License-Identifier: Apache-2.0
// The plan cache returns what was stored, and nothing else.
#include "backends/plan_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace elek::backends {
namespace {

class PlanCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "/elek_plan_cache_" + std::to_string(getpid()) + "_" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string directory_;
};

CachedPlan some() { return {"eng7_k2=3", 12.5, {1, 2, 3, 0, 255}}; }

TEST_F(PlanCacheTest, GivesBackWhatWasStored) {
  const PlanCache cache(directory_);
  EXPECT_FALSE(cache.load("a"));
  ASSERT_TRUE(cache.store("a", some()));
  const auto entry = cache.load("a");
  ASSERT_TRUE(entry) << entry.reason();
  EXPECT_EQ(entry.value().engine, "eng7_k2=3");
  EXPECT_EQ(entry.value().time_us, 12.5);
  EXPECT_EQ(entry.value().plan, some().plan);
  EXPECT_FALSE(cache.load("b"));
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    EXPECT_EQ(file.path().extension(), ".plan") << "left behind: " << file.path();
  }
}

TEST_F(PlanCacheTest, IgnoresWhatIsCutShortChangedOrForeignAndWritesOverIt) {
  const PlanCache cache(directory_);
  const std::vector<uint8_t> good = encode("a", some());
  ASSERT_TRUE(cache.store("a", some()));
  const auto put = [&](const std::vector<uint8_t>& bytes) {
    std::ofstream file(cache.path_of("a"), std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  for (size_t length = 0; length < good.size(); ++length) {
    put({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_FALSE(cache.load("a")) << "cut to " << length;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    auto bytes = good;
    bytes[i] ^= 0x10;
    put(bytes);
    EXPECT_FALSE(cache.load("a")) << "byte " << i << " changed";
  }
  auto longer = good;
  longer.push_back(0);
  put(longer);
  EXPECT_FALSE(cache.load("a")) << "a byte too many";
  put(encode("b", some()));  // two keys with the same hash: the key in the file decides
  const auto foreign = cache.load("a");
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.reason(), "has another key");
  ASSERT_TRUE(cache.store("a", some()));
  EXPECT_TRUE(cache.load("a"));
}

TEST_F(PlanCacheTest, SaysNoWhereTheDiskSaysNo) {
  std::ofstream(directory_) << "a file where the folder should be";
  const PlanCache cache(directory_);
  EXPECT_FALSE(cache.store("a", some()));
  EXPECT_FALSE(cache.load("a"));
}

TEST_F(PlanCacheTest, LivesWhereTheEnvironmentSays) {
  setenv("ELEK_CACHE_DIR", "/some/where", 1);
  EXPECT_EQ(PlanCache::default_directory(), "/some/where/plans");
  setenv("ELEK_CACHE_DIR", "off", 1);
  EXPECT_EQ(PlanCache::default_directory(), "");
  unsetenv("ELEK_CACHE_DIR");
  setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(PlanCache::default_directory(), "/x/elek/plans");
  unsetenv("XDG_CACHE_HOME");
  const PlanCache none("");
  EXPECT_TRUE(none.store("a", some()));
  EXPECT_FALSE(none.load("a"));
}

}  // namespace
}  // namespace elek::backends
