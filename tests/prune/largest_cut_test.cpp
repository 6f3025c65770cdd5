// SPDX-License-Identifier: Apache-2.0
// The largest cut within a loss: it is the one that cut() makes at that budget, each loss is that of the cut alone, and a
// search over finer and finer steps ends at the boundary.
#include "prune/largest_cut.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/error.h"
#include "elek/data.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

struct Small {
  Small() {
    TinyOptions tiny;
    tiny.widths = {8, 12};
    tiny.blocks = 1;
    tiny.input = {3, 8, 8};
    dense = tiny_resnet(tiny);
    calibrate = make_loader(parse_data("synthetic:24:1", tiny.input), {.description = "a"});
    held_out = make_loader(parse_data("synthetic:200:2", tiny.input), {.description = "b"});
    options.session.batch = 8;
    options.session.threads = 1;
    options.criterion = &find_criterion("magnitude");
    options.channels.round_to = 1;
    options.repair = Repair::kRefit;
  }
  [[nodiscard]] CutRun run() { return {options, *calibrate, held_out.get(), nobody}; }
  LargestCut found(double most_lost, int tries) {
    measured = measure(dense, run(), CutWork::kDense);
    return find_largest_cut(dense, measured, gather(dense, run()), run(), most_lost, tries,
                            [this](const TriedCut& cut) { told.push_back(cut.removed); });
  }

  Model dense;
  std::unique_ptr<BatchSource> calibrate, held_out;
  CutOptions options;
  CutObserver nobody;
  Measured measured;
  std::vector<double> told;
};

TEST(LargestCut, EachLossIsThatOfTheCutAlone) {
  Small s;
  const LargestCut made = s.found(0.01, 5);
  ASSERT_EQ(made.tried.size(), 5U);
  EXPECT_EQ(s.told.size(), 5U);
  double allowed = 0, refused = 1;
  for (const TriedCut& cut : made.tried) {
    EXPECT_DOUBLE_EQ(cut.removed, (allowed + refused) / 2) << "half of what is unknown";
    (cut.is_allowed ? allowed : refused) = cut.removed;
    if (!cut.reachable || cut.left == 1) continue;
    EXPECT_EQ(cut.is_allowed, cut.lost.value <= 0.01);
    const CutReport alone =
        elek::cut(s.dense, *s.calibrate, s.held_out.get(), removing(s.options, s.dense, cut.removed), s.nobody);
    EXPECT_DOUBLE_EQ(cut.lost.value, s.measured.accuracy.top1 - alone.repaired->accuracy.top1);
    EXPECT_DOUBLE_EQ(cut.left, static_cast<double>(macs(alone.model.graph)) / static_cast<double>(macs(s.dense.graph)));
    EXPECT_LE(cut.left, 1 - cut.removed);
  }
  ASSERT_TRUE(made.best);
  EXPECT_EQ(made.tried[*made.best].removed, allowed);
}

/// If everything may be lost, the smallest network that the groups allow is found; what is below it cannot be reached.
TEST(LargestCut, EndsAtWhatCanGo) {
  Small s;
  const LargestCut made = s.found(1, 8);
  ASSERT_TRUE(made.best);
  bool unreachable = false;
  for (const TriedCut& cut : made.tried) {
    unreachable |= !cut.reachable;
    EXPECT_EQ(cut.is_allowed, cut.reachable);
  }
  EXPECT_TRUE(unreachable);
}

TEST(LargestCut, OfWeightsIsASparsity) {
  Small s;
  s.options.weights = true;
  const LargestCut made = s.found(1, 4);
  ASSERT_TRUE(made.best);
  EXPECT_DOUBLE_EQ(made.tried[*made.best].removed, 1 - std::pow(2, -4));
  EXPECT_LT(made.tried[*made.best].left, 0.5);
}

TEST(LargestCut, ALossBelowZeroIsAMistake) {
  Small s;
  EXPECT_THROW((void)s.found(-0.1, 3), ContractError);
  EXPECT_THROW((void)s.found(std::nan(""), 3), ContractError);
}

}  // namespace
}  // namespace elek::test
