// SPDX-License-Identifier: Apache-2.0
// plan() compared with the true optimum on small random lifetimes, found by trying every order. Why that is the optimum: in the
// best packing, push every range down until it rests on another or on the floor. Sort the ranges by these offsets and place
// each at the lowest free place: the arena is no larger, and this order is among those tried.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "core/runtime.h"
#include "elek/memory.h"
#include "plan/plan.h"
#include "plan/program.h"

namespace elek {
namespace {

Program small_program(uint64_t seed) {
  Random random(seed);
  Program program;
  program.steps.resize(3 + random.below(6));
  const uint64_t storages = 3 + random.below(5);  // 3 … 7
  for (uint64_t i = 0; i < storages; ++i) {
    const auto first = static_cast<int32_t>(random.below(program.steps.size()));
    const auto last = first + static_cast<int32_t>(random.below(program.steps.size() - static_cast<uint64_t>(first)));
    program.storages.push_back({"s" + std::to_string(i), kAlignment * (1 + random.below(9)), first, last});
  }
  return program;
}

bool meet(const Storage& a, const Storage& b) { return a.first_step <= b.last_step && b.first_step <= a.last_step; }

/// Arena size if these storages are placed in this order, each as low as possible.
size_t arena_in_order(const std::vector<Storage>& storages, const std::vector<size_t>& order) {
  std::vector<size_t> offsets(storages.size());
  size_t arena = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    const Storage& s = storages[order[n]];
    size_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t m = 0; m < n; ++m) {
        const Storage& other = storages[order[m]];
        const size_t from = offsets[order[m]];
        if (!meet(s, other) || at >= from + other.bytes || from >= at + s.bytes) continue;
        at = from + other.bytes;
        moved = true;
      }
    }
    offsets[order[n]] = at;
    arena = std::max(arena, at + s.bytes);
  }
  return arena;
}

size_t optimum(const Program& program) {
  std::vector<size_t> order(program.storages.size());
  std::iota(order.begin(), order.end(), size_t{0});
  size_t best = std::numeric_limits<size_t>::max();
  do {
    best = std::min(best, arena_in_order(program.storages, order));
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

TEST(PlanOptimum, TheHeuristicFindsTheOptimumOfNearlyAllSmallPrograms) {
  std::string missed;
  int misses = 0;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const Program program = small_program(seed);
    const MemoryPlan made = plan(program);
    const size_t best = optimum(program);
    ASSERT_GE(best, made.lower_bound_bytes) << "seed " << seed;
    ASSERT_GE(made.arena_bytes, best) << "seed " << seed << ": the judge or the plan is wrong";
    if (made.arena_bytes == best) continue;
    ++misses;
    missed += "seed " + std::to_string(seed) + ": " + std::to_string(made.arena_bytes) + " bytes, optimum " +
              std::to_string(best) + "\n";
  }
  EXPECT_LE(misses, 5) << missed;  // what the planner's three orders reach; its first two alone miss more than twice as many
}

}  // namespace
}  // namespace elek
