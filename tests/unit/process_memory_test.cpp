// SPDX-License-Identifier: Apache-2.0
// The system's figures follow the memory that the process touches, and the peak of an interval is found without resetting
// anything.
#include "core/memory/process_memory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "elek/memory.h"

namespace elek {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
constexpr size_t kSlack = size_t{8} << 20;

/// Touches fresh memory and gives it back. From 1 MiB on it lies above malloc's mmap threshold: it returns to the system.
size_t resident_while_held(size_t bytes) {
  const Buffer buffer(bytes, host_resource(), "touched");
  std::memset(buffer.data(), 1, buffer.bytes());
  return process_memory().resident_bytes;
}

TEST(ProcessMemory, FollowsWhatIsTouched) {
  const ProcessMemory before = process_memory();
  if (before.resident_bytes == 0) {
    GTEST_SKIP() << "this system has no /proc/self/status";
  }
  EXPECT_GE(before.peak_resident_bytes, before.resident_bytes);
  const size_t held = resident_while_held(kBytes);
  EXPECT_GE(held + kSlack, before.resident_bytes + kBytes);
  EXPECT_GE(process_memory().peak_resident_bytes + kSlack, before.resident_bytes + kBytes);
}

TEST(ProcessMemory, APeakOfAStretchIsExactWhereTheMarkRoseAndSeenElsewhere) {
  if (process_memory().resident_bytes == 0) GTEST_SKIP() << "this system has no /proc/self/status";
  EXPECT_NEAR(static_cast<double>(resident_bytes()), static_cast<double>(process_memory().resident_bytes),
              static_cast<double>(kSlack));
  const size_t most = resident_while_held(2 * kBytes);  // a mark that the next stretch does not reach
  const ResidentPeak lower;
  const size_t seen = resident_while_held(kBytes);
  const ResidentPeak::Figure below = lower.figure(seen);
  EXPECT_FALSE(below.exact);
  EXPECT_NEAR(static_cast<double>(below.bytes), static_cast<double>(seen), static_cast<double>(kSlack));
  EXPECT_LT(lower.figure(0).bytes + kBytes - kSlack, seen) << "without the caller's reading the block is not seen";
  const ResidentPeak higher;
  EXPECT_GE(resident_while_held(3 * kBytes) + kSlack, most + kBytes);
  const ResidentPeak::Figure above = higher.figure(0);
  EXPECT_TRUE(above.exact);
  EXPECT_EQ(above.bytes, process_memory().peak_resident_bytes);
  EXPECT_GE(above.bytes + kSlack, most + kBytes);
}

}  // namespace
}  // namespace elek
