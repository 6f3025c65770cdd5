// SPDX-License-Identifier: Apache-2.0
// PyTorch's memory snapshots: fixtures by tests/fixtures/scripts/make_snapshot.py, in the documented structure.
#include "models/torch/memory_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"

namespace elek {
namespace {

std::string file(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/snapshot/" + name + ".pickle"; }

TEST(MemorySnapshot, EveryProtocolGivesTheSameEvents) {
  for (const char* name : {"protocol2", "protocol3", "protocol4", "protocol5"}) {
    const MemorySnapshot made = read_memory_snapshot(file(name));
    EXPECT_EQ(made.device, 1) << "the first device with events";
    EXPECT_EQ(made.out_of_memory, 1);
    ASSERT_EQ(made.events.size(), 6U) << name;
    EXPECT_EQ(made.events[0].label, "forward (train.py:12)") << "the innermost frame of Python";
    EXPECT_EQ(made.events[0].bytes, 1000U);
    EXPECT_EQ(made.events[0].address, 0x7F3A'0000'0000U);
    EXPECT_EQ(made.events[1].address, (uint64_t{1} << 63U) + 512) << "a long integer";
    EXPECT_FALSE(made.events[2].allocation);
    EXPECT_EQ(made.events[3].label, "backward (train.py:40)");
    EXPECT_EQ(made.events[5].address, made.events[1].address);
  }
}

TEST(MemorySnapshot, WithoutEventsTheBlocksInUseAreRead) {
  const MemorySnapshot made = read_memory_snapshot(file("blocks_only"));
  ASSERT_EQ(made.events.size(), 1U);
  EXPECT_EQ(made.events[0].bytes, 500U) << "as requested, not as rounded";
}

TEST(MemorySnapshot, OtherFilesAreRefusedWithTheReasonAndNothingIsRun) {
  const auto refused = [](const std::string& name) -> std::string {
    try {
      (void)read_memory_snapshot(file(name));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused("nothing"), ::testing::HasSubstr("_record_memory_history"));
  EXPECT_THAT(refused("other"), ::testing::HasSubstr("device_traces"));
  EXPECT_THAT(refused("no_address"), ::testing::HasSubstr("'addr'"));
  EXPECT_THAT(refused("cut"), ::testing::HasSubstr("cut.pickle"));
  EXPECT_THAT(refused("call"), ::testing::HasSubstr("os.system")) << "named, not called";
  EXPECT_FALSE(std::filesystem::exists("called"));
  EXPECT_THAT(refused("missing"), ::testing::HasSubstr("missing.pickle"));
}

}  // namespace
}  // namespace elek
