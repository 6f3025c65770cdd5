// SPDX-License-Identifier: Apache-2.0
// plan(): on random lifetimes, no two ranges that live at the same step overlap, every offset is aligned, and the arena holds
// them all and is never below the bound. On the lifetimes of residual blocks the arena meets the bound.
#include "plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "plan/program.h"

namespace elek {
namespace {

struct Span {
  size_t offset, bytes;
  int32_t first, last;
};

std::vector<Span> spans_of(const Program& program, const MemoryPlan& plan) {
  std::vector<Span> spans;
  for (size_t i = 0; i < program.storages.size(); ++i) {
    const Storage& s = program.storages[i];
    spans.push_back({plan.storage_offsets[i], s.bytes, s.first_step, s.last_step});
  }
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const auto step = static_cast<int32_t>(i);
    spans.push_back({plan.workspace_offsets[i], program.steps[i].workspace_bytes, step, step});
  }
  return spans;
}

/// Empty if the plan is valid, otherwise what is wrong; written without any of the planner's own helpers.
std::string defect(const Program& program, const MemoryPlan& plan) {
  if (plan.storage_offsets.size() != program.storages.size()) return "storages not all placed";
  if (plan.workspace_offsets.size() != program.steps.size()) return "workspaces not all placed";
  const std::vector<Span> spans = spans_of(program, plan);
  for (size_t i = 0; i < spans.size(); ++i) {
    const Span& a = spans[i];
    if (a.bytes == 0) continue;
    if (a.offset % kAlignment != 0) return "range " + std::to_string(i) + " at " + std::to_string(a.offset);
    if (a.offset + a.bytes > plan.arena_bytes) return "range " + std::to_string(i) + " ends outside the arena";
    for (size_t j = 0; j < i; ++j) {
      const Span& b = spans[j];
      const bool together = b.bytes != 0 && a.first <= b.last && b.first <= a.last;
      if (together && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes) {
        return "ranges " + std::to_string(j) + " and " + std::to_string(i) + " overlap";
      }
    }
  }
  return "";
}

size_t bound_of(const Program& program, bool workspace) {
  size_t bound = 0;
  for (size_t step = 0; step < program.steps.size(); ++step) {
    size_t live = 0;
    const auto round = [](size_t bytes) { return (bytes + 255) & ~size_t{255}; };
    for (const Storage& s : program.storages) {
      if (s.first_step <= static_cast<int32_t>(step) && static_cast<int32_t>(step) <= s.last_step) live += round(s.bytes);
    }
    if (workspace) live += round(program.steps[step].workspace_bytes);
    bound = std::max(bound, live);
  }
  return bound;
}

Program random_program(uint64_t seed) {
  Random random(seed);
  Program program;
  program.steps.resize(1 + random.below(40));
  for (ProgramStep& step : program.steps) step.workspace_bytes = random.below(3) == 0 ? random.below(5000) : 0;
  const uint64_t storages = 1 + random.below(60);
  for (uint64_t i = 0; i < storages; ++i) {
    Storage s;
    s.name = std::to_string(i);
    s.bytes = random.below(8) == 0 ? 1 + random.below(100000) : 1 + random.below(3000);
    s.first_step = static_cast<int32_t>(random.below(program.steps.size()));
    const uint64_t left = program.steps.size() - static_cast<uint64_t>(s.first_step);
    s.last_step = s.first_step + static_cast<int32_t>(random.below(std::min<uint64_t>(left, 1 + random.below(12))));
    program.storages.push_back(s);
  }
  return program;
}

TEST(Plan, RandomLifetimesNeverOverlap) {
  double worst = 1.0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Program program = random_program(seed);
    const MemoryPlan result = plan(program);
    ASSERT_EQ(defect(program, result), "") << "seed " << seed;
    ASSERT_EQ(result.lower_bound_bytes, bound_of(program, true)) << "seed " << seed;
    ASSERT_EQ(result.activations_bound_bytes, bound_of(program, false)) << "seed " << seed;
    ASSERT_GE(result.arena_bytes, result.lower_bound_bytes) << "seed " << seed;
    worst = std::max(worst, static_cast<double>(result.arena_bytes) / static_cast<double>(result.lower_bound_bytes));
  }
  RecordProperty("worst_arena_over_bound", std::to_string(worst));
  EXPECT_LE(worst, 1.25);  // a regression guard for the heuristic on these seeds, not a theorem
}

TEST(Plan, IsPure) {
  const Program program = random_program(7);
  const MemoryPlan a = plan(program);
  const MemoryPlan b = plan(program);
  EXPECT_EQ(a.storage_offsets, b.storage_offsets);
  EXPECT_EQ(a.workspace_offsets, b.workspace_offsets);
}

/// Bottleneck stages as lowering makes them: x -> a -> b -> c, the sum in place of the shortcut, shrinking maps.
Program residual_program(int stages, int blocks) {
  Program program;
  const auto add = [&](const std::string& name, size_t bytes, int32_t first, int32_t last) {
    program.storages.push_back({name, bytes, first, last});
  };
  const auto step = [&](size_t workspace) {
    program.steps.emplace_back();
    program.steps.back().workspace_bytes = workspace;
    return static_cast<int32_t>(program.steps.size()) - 1;
  };
  size_t map = size_t{56} * 56 * 64 * 4;
  int32_t x_first = step(0);
  for (int s = 0; s < stages; ++s, map /= 2) {
    for (int b = 0; b < blocks; ++b) {
      std::string name = std::to_string(s);
      name += "." + std::to_string(b);
      const int32_t conv1 = step(1000), conv2 = step(3000), conv3 = step(1000);
      add(name + ".a", map, conv1, conv2);
      add(name + ".b", map, conv2, conv3);
      if (b == 0) {  // projection last: reads x, adds into conv3's storage
        const int32_t projection = step(2000);
        add(name + ".x", s == 0 ? map : map * 8, x_first, projection);
        x_first = conv3;
      }
    }
    add(std::to_string(s) + ".sum", map * 4, x_first, static_cast<int32_t>(program.steps.size()) - (s + 1 < stages ? 0 : 1));
    if (s + 1 < stages) program.storages.pop_back();
  }
  return program;
}

TEST(Plan, MeetsTheBoundOnResidualBlocks) {
  for (const int blocks : {1, 2, 3, 6}) {
    const Program program = residual_program(4, blocks);
    const MemoryPlan result = plan(program);
    ASSERT_EQ(defect(program, result), "");
    EXPECT_EQ(result.arena_bytes, result.lower_bound_bytes) << blocks << " blocks";
  }
}

TEST(Plan, EmptyAndZeroBytes) {
  Program program;
  EXPECT_EQ(plan(program).arena_bytes, 0U);
  program.steps.resize(2);
  program.storages.push_back({"nothing", 0, 0, 1});
  const MemoryPlan result = plan(program);
  EXPECT_EQ(result.arena_bytes, 0U);
  EXPECT_EQ(defect(program, result), "");
}

TEST(Plan, RefusesLifetimesOutsideTheProgram) {
  Program program;
  program.steps.resize(2);
  program.storages.push_back({"late", 16, 1, 2});
  EXPECT_THROW((void)plan(program), ContractError);
  program.storages[0] = {"backwards", 16, 1, 0};
  EXPECT_THROW((void)plan(program), ContractError);
}

/// The checks above must find an overlap, a misaligned offset and a range outside the arena.
TEST(Plan, TheJudgeSeesDefects) {
  Program program;
  program.steps.resize(2);
  program.storages.push_back({"a", 512, 0, 1});
  program.storages.push_back({"b", 256, 1, 1});
  MemoryPlan result = plan(program);
  EXPECT_EQ(defect(program, result), "");
  MemoryPlan bad = result;
  bad.storage_offsets = {0, 256};
  EXPECT_NE(defect(program, bad), "");
  bad.storage_offsets = {0, 520};
  EXPECT_NE(defect(program, bad), "");
  bad.storage_offsets = {0, 768};
  EXPECT_NE(defect(program, bad), "");
}

}  // namespace
}  // namespace elek
