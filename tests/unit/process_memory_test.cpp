// SPDX-License-Identifier: Apache-2.0
// The system's own figures: they follow what the process touches, and the peak can be set back where the system can.
#include "engine/memory/process_memory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/memory/tensor.h"

namespace elek {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
constexpr size_t kSlack = size_t{8} << 20;

/// Touches kBytes of fresh memory and gives them back. 64 MiB is above malloc's mmap threshold: they return to the system.
size_t resident_while_held() {
  const Buffer buffer(kBytes, host_resource(), "touched");
  std::memset(buffer.data(), 1, buffer.bytes());
  return process_memory().resident_bytes;
}

TEST(ProcessMemory, FollowsWhatIsTouched) {
  const ProcessMemory before = process_memory();
  if (before.resident_bytes == 0) {
    GTEST_SKIP() << "this system has no /proc/self/status";
  }
  EXPECT_GE(before.peak_resident_bytes, before.resident_bytes);
  const size_t held = resident_while_held();
  EXPECT_GE(held + kSlack, before.resident_bytes + kBytes);
  EXPECT_GE(process_memory().peak_resident_bytes + kSlack, before.resident_bytes + kBytes);
}

TEST(ProcessMemory, ThePeakCanBeSetBack) {
  const size_t held = resident_while_held();
  if (!reset_peak_resident()) {
    GTEST_SKIP() << "this system cannot reset the peak";
  }
  const ProcessMemory after = process_memory();
  EXPECT_LT(after.peak_resident_bytes, held - kBytes / 2) << "the 64 MiB are no longer the peak";
  EXPECT_GT(after.peak_resident_bytes, 0U);
}

}  // namespace
}  // namespace elek
