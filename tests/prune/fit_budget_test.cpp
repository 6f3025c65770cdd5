// SPDX-License-Identifier: Apache-2.0
// Budgets that are measured on networks that were cut: the terms by which counts are chosen, and that the limit holds by what
// the network really uses, as closely as single steps of counts allow.
#include "prune/fit_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/runtime.h"
#include "engine/estimate.h"
#include "prune/apply.h"
#include "prune/budget_terms.h"
#include "prune/counts.h"
#include "prune/early_checks.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "prune/spend.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

std::vector<Model> networks() {
  return {tiny_basic(1), tiny_bottleneck(1), tiny_option_a(1), tiny_concat(1), tiny_mobile(1), tiny_resnext(1)};
}

std::vector<int64_t> kept_in(const std::vector<Group>& groups, const PrunePlan& plan) {
  std::vector<int64_t> kept;
  for (const Group& group : groups) {
    const auto cut =
        std::find_if(plan.groups.begin(), plan.groups.end(), [&](const GroupCut& c) { return c.group == group.name; });
    kept.push_back(cut == plan.groups.end() ? group.channels : std::ssize(cut->keep));
  }
  return kept;
}

std::vector<int64_t> all_of(const std::vector<Group>& groups) {
  std::vector<int64_t> all;
  for (const Group& group : groups) all.push_back(group.channels);
  return all;
}

Scores random_scores(const std::vector<Group>& groups, uint64_t seed) {
  Random random(seed);
  Scores scores(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    double total = 0;
    for (int64_t c = 0; c < groups[g].channels; ++c) scores[g].push_back(total += 0.01 + random.uniform());
  }
  return scores;
}

Budget with_terms(BudgetUnit unit, UsageTerms terms) {
  Budget budget{unit, 0};
  budget.terms = std::make_shared<const UsageTerms>(std::move(terms));
  return budget;
}

SessionOptions one_image() {
  SessionOptions options;
  options.batch = 1;
  options.threads = 1;
  return options;
}

TEST(BudgetTerms, TensorBytesAreThoseOfCutNetworks) {
  for (const Model& dense : networks()) {
    const std::vector<Group> groups = find_groups(dense.graph);
    const Budget budget = with_terms(BudgetUnit::kFileBytes, tensor_bytes_terms(groups, dense.graph));
    PrunePlan plan = random_plan(dense, 3);
    plan.weights.clear();
    const Model cut = apply(dense, plan, host_resource());
    EXPECT_NEAR(usage_of(groups, dense.graph, budget, kept_in(groups, plan)), static_cast<double>(parameter_bytes(cut)), 1e-3)
        << dense.architecture;
  }
}

/// The dense network's own plan: sums of the bytes alive, so the lower bound of the arena comes out, except for the alignment
/// of workspaces that the terms do not know.
TEST(BudgetTerms, MemoryOfTheWholeNetworkIsItsPlans) {
  for (const Model& dense : networks()) {
    const std::vector<Group> groups = find_groups(dense.graph);
    const SessionMemory memory = estimate_memory(dense, one_image()).memory;
    const Budget budget = with_terms(BudgetUnit::kMemory, memory_terms(dense, groups, one_image()));
    const double use = usage_of(groups, dense.graph, budget, all_of(groups));
    EXPECT_NEAR(use, static_cast<double>(memory.weights_bytes + memory.lower_bound_bytes), 2048) << dense.architecture;
    EXPECT_LT(usage_of(groups, dense.graph, budget, fewest_counts(groups, dense.graph, {})), use);
  }
}

TEST(Usage, OfMomentsIsWhatChangesSayAndTheLargestCounts) {
  const Model dense = tiny_basic(1);
  const std::vector<Group> groups = find_groups(dense.graph);
  const Budget budget = with_terms(BudgetUnit::kMemory, memory_terms(dense, groups, one_image()));
  Random random(5);
  std::vector<int64_t> kept = all_of(groups);
  Usage usage(groups, dense.graph, budget, kept);
  for (int i = 0; i < 200; ++i) {
    const auto g = static_cast<size_t>(random.uniform() * static_cast<double>(groups.size()));
    const auto to = 1 + static_cast<int64_t>(random.uniform() * static_cast<double>(groups[g].channels));
    const double before = usage.total(), saved = usage.saved(g, to);
    kept[g] = to;
    usage.set(g, to);
    EXPECT_NEAR(usage.total(), before - saved, 1e-6 * before);
    EXPECT_NEAR(usage.total(), usage_of(groups, dense.graph, budget, kept), 1e-6 * before);
  }
}

/// What is really used is another function than the terms: padded to multiples of four channels, with something on top.
TEST(FitBudget, HoldsByWhatIsUsedAndNoStepMoreFits) {
  int fitted = 0;
  for (const Model& dense : networks()) {
    const std::vector<Group> groups = find_groups(dense.graph);
    const Scores scores = random_scores(groups, 11);
    Budget budget = with_terms(BudgetUnit::kFileBytes, tensor_bytes_terms(groups, dense.graph));
    const auto real = [](const Model& cut) { return std::ceil(static_cast<double>(parameter_bytes(cut)) / 64) * 64 + 500; };
    budget.exact = [&](const Model& cut, const PrunePlan&) { return real(cut); };
    for (const Scope scope : {Scope::kLayer, Scope::kGlobal, Scope::kMacs}) {
      for (const double share : {0.8, 0.6}) {
        ChannelTarget target;
        target.scope = scope;
        target.budget = budget;
        target.budget->limit = share * real(dense);
        PrunePlan plan;
        try {
          check_fits(dense, target, host_resource());
        } catch (const UsageError&) {
          continue;  // too little to cut
        }
        plan = fit_budget(dense, groups, scores, target, host_resource());
        ++fitted;
        const double use = real(apply(dense, plan, host_resource()));
        EXPECT_LE(use, target.budget->limit) << dense.architecture << " " << name_of(scope) << " " << share;
        EXPECT_EQ(plan.target, target_text(target));
        if (use >= 0.998 * target.budget->limit) continue;
        std::vector<int64_t> kept = kept_in(groups, plan);
        const Spending how{groups, dense.graph, target, *target.budget, free_groups(groups, dense.graph, target)};
        for (size_t g = 0; g < groups.size(); ++g) {
          const int64_t now = kept[g], more = how.free[g] ? next_higher(how, g, now) : 0;
          if (more == 0) continue;
          kept[g] = more;
          EXPECT_GT(real(apply(dense, plan_of_counts(groups, scores, kept, target), host_resource())), target.budget->limit)
              << groups[g].name;
          kept[g] = now;
        }
      }
    }
  }
  EXPECT_GE(fitted, 24);
}

TEST(FitBudget, MemoryOfASessionHoldsToTheByte) {
  const Model dense = tiny_basic(1);
  const std::vector<Group> groups = find_groups(dense.graph);
  const auto real = [](const Model& model) {
    const SessionMemory memory = estimate_memory(model, one_image()).memory;
    return static_cast<double>(memory.weights_bytes + memory.arena_bytes);
  };
  ChannelTarget target;
  target.scope = Scope::kMacs;
  target.budget = with_terms(BudgetUnit::kMemory, memory_terms(dense, groups, one_image()));
  target.budget->exact = [&](const Model& cut, const PrunePlan&) { return real(cut); };
  target.budget->limit = 0.85 * real(dense);
  const PrunePlan plan = fit_budget(dense, groups, random_scores(groups, 2), target, host_resource());
  const Model cut = apply(dense, plan, host_resource());
  const SessionMemory bound = Session(cut, one_image()).memory();
  EXPECT_LE(static_cast<double>(bound.weights_bytes + bound.arena_bytes), target.budget->limit);
  EXPECT_FALSE(plan.removes_nothing());
}

TEST(CheckFits, RefusesWhatCannotBeReachedAndWhatRemovesNothing) {
  const Model dense = tiny_basic(1);
  const std::vector<Group> groups = find_groups(dense.graph);
  ChannelTarget target;
  target.budget = with_terms(BudgetUnit::kFileBytes, tensor_bytes_terms(groups, dense.graph));
  target.budget->exact = [](const Model& cut, const PrunePlan&) { return static_cast<double>(parameter_bytes(cut)); };
  target.budget->limit = static_cast<double>(parameter_bytes(dense));
  EXPECT_THROW(check_fits(dense, target, host_resource()), RemovesNothing);
  target.budget->limit = 10;
  EXPECT_THROW(check_fits(dense, target, host_resource()), UsageError);
  EXPECT_THROW((void)fit_budget(dense, groups, random_scores(groups, 1), target, host_resource()), UsageError);
  target.budget->limit = 0.5 * static_cast<double>(parameter_bytes(dense));
  check_fits(dense, target, host_resource());
}

}  // namespace
}  // namespace elek::test
