// SPDX-License-Identifier: Apache-2.0
// The failing resource: it fails where it is told to, recovers, and notices what its users do wrong.
#include "tests/support/faulty.h"

#include <gtest/gtest.h>

#include <cmath>

namespace elek::test {
namespace {

TEST(Faulty, FailsTheKthAllocationAndEveryLaterOneUntilHealed) {
  Faulty memory;
  void* first = memory.allocate(100, "first");
  memory.fail_at(1);
  void* second = memory.allocate(200, "second");
  EXPECT_THROW((void)memory.allocate(300, "third"), OutOfMemory);
  EXPECT_THROW((void)memory.allocate(1, "fourth"), OutOfMemory);
  EXPECT_EQ(memory.in_use_bytes(), 300U) << memory.leaks();
  EXPECT_EQ(memory.allocations(), 4);
  EXPECT_EQ(memory.failures(), 2);
  memory.heal();
  void* third = memory.allocate(300, "third");
  memory.deallocate(first, 100);
  memory.deallocate(second, 200);
  EXPECT_NE(memory.leaks().find("third"), std::string::npos);
  memory.deallocate(third, 300);
  EXPECT_EQ(memory.in_use_bytes(), 0U);
  EXPECT_TRUE(memory.misuse().empty());
}

TEST(Faulty, ErrorCarriesTheFigures) {
  Faulty memory;
  memory.fail_at(0);
  try {
    (void)memory.allocate(77, "weights");
    FAIL() << "the allocation should have failed";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.figures().requested_bytes, 77U);
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_NE(std::string(error.what()).find("weights"), std::string::npos) << error.what();
  }
}

TEST(Faulty, FreshBlocksReadAsNan) {
  Faulty memory;
  auto* values = static_cast<float*>(memory.allocate(4 * sizeof(float), "values"));
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(std::isnan(values[i]));
  }
  memory.deallocate(values, 4 * sizeof(float));
}

TEST(Faulty, SeesMisuse) {
  Faulty memory;
  void* block = memory.allocate(64, "block");
  memory.deallocate(block, 63);
  ASSERT_EQ(memory.misuse().size(), 1U);
  EXPECT_EQ(memory.in_use_bytes(), 0U);
  memory.deallocate(block, 64);  // a second time
  EXPECT_EQ(memory.misuse().size(), 2U);
}

}  // namespace
}  // namespace elek::test
