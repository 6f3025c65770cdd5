// SPDX-License-Identifier: Apache-2.0
// The ledger tells blocks apart, keeps what each use held at the peak of all, and its account adds up to what the system says.
#include "engine/memory/ledger.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "engine/memory/process_memory.h"
#include "engine/memory/tensor.h"

namespace elek {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

size_t bytes_of(const UseBytes& bytes, Use use) { return bytes[static_cast<size_t>(use)]; }

TEST(Ledger, TellsUsesApartAndKeepsThePeakOfAll) {
  Pool pool(host_resource());
  Ledger ledger(pool);
  {
    const Buffer model(1000, ledger, "layer1.0.conv1.weight");
    ledger.announce_arena(5000, 3000);
    {
      const Buffer arena(5000, ledger, "arena");
      const Buffer other(70, ledger, "logits of all images");
      EXPECT_EQ(ledger.figures().live, (UseBytes{1000, 0, 3000, 2000, 0, 0, 70}));
    }
    const Buffer weights(4000, ledger, "weights");  // 5000 in all: less than the 6070 before
    const Buffer norm(10, ledger, "layer1.0.bn1.running_var");
    EXPECT_EQ(ledger.figures().live, (UseBytes{1010, 4000, 0, 0, 0, 0, 0}));
    EXPECT_EQ(ledger.figures().at_peak, (UseBytes{1000, 0, 3000, 2000, 0, 0, 70}));
    ledger.reset_peak();
    EXPECT_EQ(ledger.figures().at_peak, (UseBytes{1010, 4000, 0, 0, 0, 0, 0}));
  }
  EXPECT_EQ(total(ledger.figures().live), 0U);
  EXPECT_EQ(bytes_of(ledger.figures().at_peak, Use::kWeights), 4000U);
}

TEST(Ledger, TheAccountAddsUpAndSeesWhoTookWhat) {
  if (process_memory().resident_bytes == 0) GTEST_SKIP() << "this system has no /proc/self/status";
  Pool pool(host_resource());
  Ledger ledger(pool);
  const Account before = account(ledger, pool);
  const Buffer touched(48 * kMiB, ledger, "weights"), untouched(32 * kMiB, ledger, "statistics");
  std::memset(touched.data(), 1, touched.bytes());
  const size_t foreign_bytes = 24 * kMiB;
  void* foreign = std::malloc(foreign_bytes);  // of no resource of ours
  ASSERT_NE(foreign, nullptr);
  std::memset(foreign, 1, foreign_bytes);
  const Account after = account(ledger, pool);
  std::free(foreign);
  for (const Account& a : {before, after}) {
    EXPECT_EQ(static_cast<int64_t>(total(a.uses) + a.pool_bytes) - static_cast<int64_t>(a.untouched_bytes) +
                  static_cast<int64_t>(a.library_bytes) + a.rest_bytes,
              static_cast<int64_t>(a.resident_bytes));
    EXPECT_GT(a.library_bytes, 0U);
  }
  EXPECT_EQ(bytes_of(after.uses, Use::kWeights), 48 * kMiB);
  constexpr double kSlack = 1.0 * kMiB;  // pages at edges, and the system's own counters, which lag by some pages a core
  EXPECT_NEAR(static_cast<double>(after.untouched_bytes), 32.0 * kMiB, kSlack);
  EXPECT_NEAR(static_cast<double>(after.rest_bytes - before.rest_bytes), 24.0 * kMiB, 2 * kSlack);
  EXPECT_NEAR(static_cast<double>(after.resident_bytes - before.resident_bytes), 72.0 * kMiB, 2 * kSlack);
}

}  // namespace
}  // namespace elek
