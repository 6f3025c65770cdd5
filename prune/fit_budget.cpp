// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/fit_budget_test.cpp
#include "prune/fit_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/apply.h"
#include "prune/counts.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "prune/spend.h"
#include "prune/usage.h"

namespace elek {
namespace {

constexpr int kTries = 12;
/// A run's time cannot be repeated more exactly than this, and each try costs a second.
constexpr int kTimedTries = 6;
/// A try that spends this share is the last one.
constexpr double kSpent = 0.998;
constexpr double kSpentTime = 0.97;
/// Networks that are made to hand out what is left.
constexpr int kHandOuts = 200;

std::vector<int64_t> counts_of(const std::vector<Group>& groups, const PrunePlan& plan) {
  std::vector<int64_t> kept;
  for (const Group& group : groups) {
    const auto cut =
        std::find_if(plan.groups.begin(), plan.groups.end(), [&](const GroupCut& c) { return c.group == group.name; });
    kept.push_back(cut == plan.groups.end() ? group.channels : std::ssize(cut->keep));
  }
  return kept;
}

std::vector<int64_t> all_channels(const std::vector<Group>& groups) {
  std::vector<int64_t> all;
  all.reserve(groups.size());
  for (const Group& group : groups) all.push_back(group.channels);
  return all;
}

class Fit {
 public:
  Fit(const Model& model, const std::vector<Group>& groups, const Scores& scores, const ChannelTarget& target,
      MemoryResource& memory)
      : model_(model), groups_(groups), scores_(scores), target_(target), memory_(memory) {}

  [[nodiscard]] double use_of(const PrunePlan& plan) const {
    throw_if_interrupted();
    PrunePlan as_recorded = plan;
    as_recorded.target = target_text(target_);
    return target_.budget->exact(apply(model_, plan, memory_), as_recorded);
  }
  /// Whether it fits. Keeps the plan if it uses more of the budget than the one kept.
  bool take(PrunePlan plan) {
    const double use = use_of(plan);
    last_use_ = use;
    if (!(use <= target_.budget->limit)) return false;
    if (timed()) fitting_.emplace_back(use, plan);
    if (!best_ || use >= best_use_) {  // equal: the later one has more channels
      best_ = std::move(plan);
      best_use_ = use;
    }
    return true;
  }
  void search();
  void hand_out();
  [[nodiscard]] PrunePlan result();

 private:
  [[nodiscard]] bool timed() const { return target_.budget->unit == BudgetUnit::kLatency; }
  const Model& model_;
  const std::vector<Group>& groups_;
  const Scores& scores_;
  const ChannelTarget& target_;
  MemoryResource& memory_;
  void time_again();
  std::optional<PrunePlan> best_;
  std::vector<std::pair<double, PrunePlan>> fitting_;  // of a budget of time: all that fitted
  double best_use_ = 0;
  double last_use_ = 0;
};

/// Finds the limit for the terms at which the network uses the budget.
void Fit::search() {
  const double wish = target_.budget->limit;
  ChannelTarget by_terms = target_;
  by_terms.budget->exact = nullptr;
  const double whole = usage_of(groups_, model_.graph, *by_terms.budget, all_channels(groups_));
  double low = 0, high = whole;
  double limit = std::min(wish, whole);
  for (int i = 0; i < (timed() ? kTimedTries : kTries); ++i) {
    by_terms.budget->limit = limit;
    double next = 0;
    try {
      if (take(select_channels(groups_, scores_, model_.graph, by_terms))) {
        if (best_use_ >= (timed() ? kSpentTime : kSpent) * wish) return;
        low = limit;
      } else {
        high = limit;
      }
      next = limit * wish / last_use_ * (timed() ? 0.99 : 1.0);
    } catch (const UsageError&) {  // below what the terms say of the smallest counts
      low = limit;
    }
    if (high - low <= 1e-4 * whole) return;
    const double margin = 0.02 * (high - low);
    limit = next > low + margin && next < high - margin ? next : (low + high) / 2;
  }
}

/// More channels for one group after the other, where a step fits.
void Fit::hand_out() {
  if (timed() || !best_) return;
  const Spending how{groups_, model_.graph, target_, *target_.budget, free_groups(groups_, model_.graph, target_)};
  std::vector<int64_t> kept = counts_of(groups_, *best_);
  int made = 0;
  for (bool found = true; found;) {
    found = false;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (best_use_ >= kSpent * target_.budget->limit || made == kHandOuts) return;
      const int64_t now = kept[g], more = how.free[g] ? next_higher(how, g, now) : 0;
      if (more == 0) continue;
      kept[g] = more;
      ++made;
      if (take(plan_of_counts(groups_, scores_, kept, target_)) && best_use_ == last_use_) {
        found = true;
      } else {
        kept[g] = now;
      }
    }
  }
}

/// A time can be wrong once: the slowest plan whose second time fits too.
void Fit::time_again() {
  std::stable_sort(fitting_.begin(), fitting_.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [use, plan] : fitting_) {
    best_ = plan;
    if (use_of(plan) <= target_.budget->limit) return;
  }
}

/// The smallest counts, and equal shares: padding and other kernels can make fewer channels use more, so the smallest counts
/// need not use least.
std::vector<PrunePlan> small_plans(const Graph& graph, const std::vector<Group>& groups, const Scores& scores,
                                   const ChannelTarget& target) {
  std::vector<PrunePlan> plans{plan_of_counts(groups, scores, fewest_counts(groups, graph, target), target)};
  ChannelTarget equal = target;
  equal.budget.reset();
  equal.scope = Scope::kLayer;
  for (const double share : {0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2}) {
    equal.share = share;
    plans.push_back(select_channels(groups, scores, graph, equal));
  }
  return plans;
}

PrunePlan Fit::result() {
  if (!best_) {
    double least = std::numeric_limits<double>::infinity();
    for (PrunePlan& plan : small_plans(model_.graph, groups_, scores_, target_)) {
      if (take(std::move(plan))) break;
      least = std::min(least, last_use_);
    }
    if (!best_) throw out_of_reach(*target_.budget, least);
    hand_out();
  }
  if (timed()) time_again();
  PrunePlan plan = std::move(*best_);
  plan.target = target_text(target_);
  return plan;
}

}  // namespace

PrunePlan fit_budget(const Model& model, const std::vector<Group>& groups, const Scores& scores, const ChannelTarget& target,
                     MemoryResource& memory) {
  ELEK_CHECK(target.budget && target.budget->exact && target.budget->terms,
             "fit_budget: the target has no budget that is measured");
  Fit fit(model, groups, scores, target, memory);
  fit.search();
  fit.hand_out();
  return fit.result();
}

void check_fits(const Model& model, const ChannelTarget& target, MemoryResource& memory) {
  if (!target.budget || !target.budget->exact) return;
  const std::vector<Group> groups = find_groups(model.graph);
  Scores none(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) none[g].assign(static_cast<size_t>(groups[g].channels), 0.0);
  const Fit fit(model, groups, none, target, memory);
  const double whole = fit.use_of(plan_of_counts(groups, none, all_channels(groups), target));
  // A busy machine can show half or double the time.
  const double surely = target.budget->unit == BudgetUnit::kLatency ? 2 : 1;
  if (surely * whole <= target.budget->limit) throw RemovesNothing(target_text(target));
  double least = std::numeric_limits<double>::infinity();
  for (const PrunePlan& plan : small_plans(model.graph, groups, none, target)) {
    least = std::min(least, fit.use_of(plan));
    if (least <= target.budget->limit) return;
  }
  throw out_of_reach(*target.budget, least);
}

}  // namespace elek
