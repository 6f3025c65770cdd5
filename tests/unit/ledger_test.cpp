// SPDX-License-Identifier: Apache-2.0
// The ledger distinguishes blocks and keeps what each use held at the peak of all. Its account adds up to the system's figure.
#include "core/memory/ledger.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "core/memory/process_memory.h"
#include "elek/memory.h"

namespace elek {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

size_t bytes_of(const UseBytes& bytes, Use use) { return bytes[static_cast<size_t>(use)]; }

TEST(Ledger, TellsUsesApartAndKeepsThePeakOfAll) {
  Pool pool(host_resource());
  Ledger ledger(pool);
  {
    const Buffer model(1000, ledger, {"layer1.0.conv1.weight", Use::kModel});
    ledger.announce_arena(5000, 3000);
    {
      const Buffer arena(5000, ledger, {"arena", Use::kActivations});
      const Buffer other(70, ledger, "logits of all images");
      EXPECT_EQ(ledger.live(), (UseBytes{1000, 0, 3000, 2000, 0, 0, 0, 0, 70}));
    }
    const Buffer weights(4000, ledger, {"weights", Use::kWeights});  // 5000 in all: less than the 6070 before
    const Buffer norm(10, ledger, {"layer1.0.bn1.running_var", Use::kModel});
    EXPECT_EQ(ledger.live(), (UseBytes{1010, 4000, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(ledger.peak().uses, (UseBytes{1000, 0, 3000, 2000, 0, 0, 0, 0, 70}));
    ledger.reset_peak();
    EXPECT_EQ(ledger.peak().uses, (UseBytes{1010, 4000, 0, 0, 0, 0, 0, 0, 0}));
  }
  EXPECT_EQ(total(ledger.live()), 0U);
  EXPECT_EQ(bytes_of(ledger.peak().uses, Use::kWeights), 4000U);
}

/// Memory that is held but was never written has no pages, so the system does not count it, and neither may the peak. A page
/// that was only read is the shared page of zeros: mincore reports it, the process's figure does not.
TEST(Ledger, ThePeakKnowsWhatWasNeverWritten) {
  if (resident_bytes() == 0) GTEST_SKIP() << "the platform does not report resident memory";
  Pool pool(host_resource());
  Ledger ledger(pool);
  const Buffer written(8 * kMiB, ledger, {"written", Use::kModel});
  std::memset(written.data(), 1, written.bytes());
  ledger.announce_arena(256 * kMiB, 200 * kMiB);
  {
    const Buffer arena(256 * kMiB, ledger, {"arena", Use::kActivations});
    std::memset(arena.data(), 1, 150 * kMiB);
    const auto* const bytes = static_cast<const volatile unsigned char*>(static_cast<const void*>(arena.data()));
    unsigned sum = 0;
    for (size_t at = 160 * kMiB; at < arena.bytes(); at += 4096) sum += bytes[at];
    EXPECT_EQ(sum, 0U);
  }
  const Ledger::Peak peak = ledger.peak();
  EXPECT_EQ(total(peak.uses), 264 * kMiB);
  EXPECT_EQ(bytes_of(peak.uses, Use::kWorkspace), 56 * kMiB);
  EXPECT_LT(bytes_of(peak.untouched, Use::kModel), kMiB);
  EXPECT_LE(total(peak.uses) - total(peak.untouched), peak.system_bytes);
  EXPECT_LE(peak.library_and_rest_bytes(), peak.system_bytes);
}

TEST(Ledger, KnowsWhatARepairHolds) {
  Pool pool(host_resource());
  Ledger ledger(pool);
  const Buffer moments(1, ledger, {"layer1.0.conv2.moments", Use::kMoments}),
      columns(2, ledger, {"layer1.0.conv2.columns", Use::kMoments}), rows(4, ledger, {"fc.rows", Use::kMoments}),
      inverse(8, ledger, {"fc.inverse", Use::kMoments}), fit(16, ledger, {"fc.fit", Use::kMoments});
  const Buffer kept(32, ledger, {"kept activations", Use::kKept}), packing(64, ledger, {"packing", Use::kWorkspace});
  EXPECT_EQ(ledger.live(), (UseBytes{0, 0, 0, 64, 0, 0, 31, 32, 0}));
}

/// A device whose driver reports what the test sets.
class FakeDevice final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {DeviceKind::kCuda, 0}; }
  [[nodiscard]] size_t system_bytes() const noexcept override {
    ++asked;
    return context_bytes + held_bytes;
  }
  size_t context_bytes = 0;  // the driver's own, kernels, other processes
  size_t held_bytes = 0;
  mutable int asked = 0;

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) override {
    held_bytes += bytes;
    return host_resource().allocate(bytes, label);
  }
  void do_deallocate(void* block, size_t bytes, Stream /*stream*/) noexcept override {
    held_bytes -= bytes;
    host_resource().deallocate(block, bytes);
  }
};

/// `uses` and the system's figure are of the same moment: the first release after the peak, or now if there was none.
TEST(Ledger, ThePeakAndTheSystemsFigureAreOfOneMoment) {
  FakeDevice device;
  device.context_bytes = 500;
  Ledger ledger(device);
  EXPECT_EQ(ledger.system_bytes_before(), 500U);
  {
    const Buffer a(1000, ledger, "a");
    device.context_bytes = 700;  // kernels are loaded
    EXPECT_EQ(ledger.peak().system_bytes, 1700U) << "nothing given back yet: of now";
    { const Buffer b(100, ledger, "b"); }
    const int asked = device.asked;
    device.context_bytes = 9000;
    { const Buffer c(50, ledger, "c"); }
    EXPECT_EQ(ledger.peak().system_bytes, 1800U) << "later growth elsewhere is of another moment";
    EXPECT_EQ(device.asked, asked) << "releases below the peak ask nobody";
    ledger.reset_peak();
    EXPECT_EQ(ledger.peak().system_bytes, 10000U);
  }
  EXPECT_EQ(bytes_of(ledger.peak().uses, Use::kOther), 1000U);
  EXPECT_EQ(ledger.peak().system_bytes, 10000U) << "read before the block went";
}

/// The same on a device, by the driver's figure: before our first byte, our bytes, the pool's, and the rest.
TEST(Ledger, ADevicesAccountAddsUpToTheDriversFigure) {
  FakeDevice device;
  device.context_bytes = 300 * kMiB;
  Limit limit(device, 100 * kMiB);
  Pool pool(limit, {.segment_bytes = 2 * kMiB});
  Ledger ledger(pool);
  const Buffer weights(3 * kMiB, ledger, {"weights", Use::kWeights}),
      statistics(kMiB / 2, ledger, {"statistics", Use::kStatistics});
  device.context_bytes += 20 * kMiB;  // kernels and handles
  const Account made = account(ledger, pool);
  EXPECT_EQ(made.system_bytes, (300 + 20 + 3 + 2) * kMiB);
  EXPECT_EQ(made.library_bytes, 300 * kMiB);
  EXPECT_EQ(total(made.uses), 3 * kMiB + kMiB / 2);
  EXPECT_EQ(made.pool_bytes, kMiB * 3 / 2);
  EXPECT_EQ(made.untouched_bytes, 0U);
  EXPECT_EQ(made.rest_bytes, 20 * kMiB);
  device.context_bytes -= 60 * kMiB;  // another program frees memory
  const Account later = account(ledger, pool);
  EXPECT_EQ(later.library_bytes, (300 + 20 - 60) * kMiB);
  EXPECT_EQ(later.rest_bytes, 0U);
}

TEST(Ledger, TheAccountAddsUpAndSeesWhoTookWhat) {
  if (process_memory().resident_bytes == 0) GTEST_SKIP() << "this system has no /proc/self/status";
  Pool pool(host_resource());
  Ledger ledger(pool);
  const Account before = account(ledger, pool);
  const Buffer touched(48 * kMiB, ledger, {"weights", Use::kWeights}),
      untouched(32 * kMiB, ledger, {"statistics", Use::kStatistics});
  std::memset(touched.data(), 1, touched.bytes());
  const size_t foreign_bytes = 24 * kMiB;
  void* foreign = std::malloc(foreign_bytes);  // of no resource of ours
  ASSERT_NE(foreign, nullptr);
  std::memset(foreign, 1, foreign_bytes);
  const Account after = account(ledger, pool);
  std::free(foreign);
  for (const Account& a : {before, after}) {
    EXPECT_EQ(total(a.uses) + a.pool_bytes - a.untouched_bytes + a.library_bytes + a.rest_bytes, a.system_bytes);
    EXPECT_EQ(total(a.uses) - total(a.uses_untouched) + a.pool_written_bytes() + a.library_bytes + a.rest_bytes,
              a.system_bytes);
    EXPECT_GT(a.library_bytes, 0U);
  }
  EXPECT_EQ(bytes_of(after.uses, Use::kWeights), 48 * kMiB);
  constexpr double kSlack = 1.0 * kMiB;  // pages at edges, and the system's own counters, which lag by some pages a core
  EXPECT_NEAR(static_cast<double>(after.untouched_bytes), 32.0 * kMiB, kSlack);
  EXPECT_NEAR(static_cast<double>(bytes_of(after.uses_untouched, Use::kStatistics)), 32.0 * kMiB, kSlack);
  EXPECT_LT(bytes_of(after.uses_untouched, Use::kWeights), kMiB);
  EXPECT_NEAR(static_cast<double>(after.rest_bytes - before.rest_bytes), 24.0 * kMiB, 2 * kSlack);
  EXPECT_NEAR(static_cast<double>(after.system_bytes - before.system_bytes), 72.0 * kMiB, 2 * kSlack);
}

}  // namespace
}  // namespace elek
