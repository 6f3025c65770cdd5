// SPDX-License-Identifier: Apache-2.0
#include "prune/steps.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"
#include "prune/counts.h"
#include "prune/select.h"
#include "prune/spend.h"

namespace elek {
namespace {

void check_step(int step, int steps) {
  ELEK_CHECK(1 <= step && step <= steps, "step " + std::to_string(step) + " of " + std::to_string(steps));
}

template <typename Cuts, typename Name>
auto find_cut(Cuts& cuts, const Name& is_it) -> decltype(&cuts.front()) {
  const auto found = std::find_if(cuts.begin(), cuts.end(), is_it);
  return found == cuts.end() ? nullptr : &*found;
}

const GroupCut* cut_of(const PrunePlan& plan, const std::string& group) {
  return find_cut(plan.groups, [&](const GroupCut& cut) { return cut.group == group; });
}

int64_t channels_now(const Group& group, const PrunePlan& so_far) {
  const GroupCut* cut = cut_of(so_far, group.name);
  return cut == nullptr ? group.channels : std::ssize(cut->keep);
}

double usage_of_dense(const std::vector<Group>& groups, const Graph& dense, const Budget& budget) {
  std::vector<int64_t> all;
  all.reserve(groups.size());
  for (const Group& group : groups) all.push_back(group.channels);
  return usage_of(groups, dense, budget, all);
}

/// The share that llround(share * channels) turns into `removed` again.
double share_for(int64_t removed, int64_t channels) { return static_cast<double>(removed) / static_cast<double>(channels); }

GroupCut composed(const GroupCut& first, const GroupCut& second) {
  ELEK_CHECK(second.channels == std::ssize(first.keep), "compose: group '" + first.group + "' keeps " +
                                                            std::to_string(first.keep.size()) +
                                                            " channels, the next plan cuts " + std::to_string(second.channels));
  GroupCut both{first.group, first.channels, {}, first.scores};
  for (const int64_t c : second.keep) both.keep.push_back(first.keep.at(at(c)));
  if (std::ssize(both.scores) == both.channels && std::ssize(second.scores) == second.channels) {
    for (size_t i = 0; i < second.scores.size(); ++i) both.scores[at(first.keep[i])] = second.scores[i];
  } else {
    both.scores.clear();
  }
  return both;
}

WeightCut composed(const WeightCut& first, const WeightCut& second) {
  ELEK_CHECK(first.keep.size() == second.keep.size(), "compose: '" + first.node + "' has masks of " +
                                                          std::to_string(first.keep.size()) + " and " +
                                                          std::to_string(second.keep.size()) + " weights");
  WeightCut both{first.node, first.keep, 0};
  for (size_t i = 0; i < both.keep.size(); ++i) both.keep[i] = first.keep[i] != 0 && second.keep[i] != 0 ? 1 : 0;
  both.removed = std::count(both.keep.begin(), both.keep.end(), uint8_t{0});
  return both;
}

}  // namespace

ChannelTarget step_target(const Graph& dense, const PrunePlan& so_far, const ChannelTarget& whole, int step, int steps) {
  check_step(step, steps);
  if (steps > 1 && whole.budget && whole.budget->terms) {  // they belong to the channels of the dense network
    throw UsageError(std::string("a budget of ") + name_of(whole.budget->unit) +
                     " cannot be reached in several rounds; use one round, or a budget of MACs or parameters");
  }
  const double part = static_cast<double>(step) / steps;
  const std::vector<Group> groups = find_groups(dense);
  const ChannelTarget target = whole.scope == Scope::kLayer ? equal_shares(groups, dense, whole) : whole;
  ChannelTarget now = target;
  now.overrides.clear();
  std::vector<double> share(groups.size(), target.share);
  std::vector<bool> pooled(groups.size(), target.scope != Scope::kLayer);
  std::vector<bool> own(groups.size(), false);
  for (const auto& [name, own_share] : target.overrides) {
    const size_t g = find_group(dense, groups, name);
    if (own[g]) throw UsageError("'" + name + "' is in a group that already has a share; give one share");
    own[g] = true;
    share[g] = own_share;
    pooled[g] = false;
  }
  for (const std::string& name : target.ignore) {
    const size_t g = find_group(dense, groups, name);
    if (own[g]) throw UsageError("'" + name + "' is to be ignored, but its group has a share; leave out one of them");
    share[g] = 0;
    pooled[g] = false;
  }
  int64_t pool = 0;
  int64_t left = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    if (!group.prunable && !own[g]) continue;
    const int64_t channels = channels_now(group, so_far);
    if (pooled[g]) {
      pool += group.channels;
      left += channels;
    } else if (share[g] > 0 || own[g]) {
      // Earlier rounds have left one channel per convolution group: nothing more can be removed.
      if (group.prunable && channels <= group.conv_groups) continue;
      const int64_t removed = std::llround(share[g] * part * static_cast<double>(group.channels));
      const int64_t kept = kept_of(dense, group, removed, target);
      now.overrides[group.name] = share_for(std::max(int64_t{0}, channels - kept), channels);
    }
  }
  if (target.scope == Scope::kLayer) {
    now.share = 0;
    now.round = nullptr;
    now.round_to = 1;  // the counts above are rounded on the dense network's channels already
  } else if (target.budget) {
    const double all = usage_of_dense(groups, dense, *target.budget);
    now.budget->limit = all - part * (all - target.budget->limit);
  } else if (target.scope == Scope::kMacs) {
    ChannelTarget due = target;  // for the dense network
    due.share = target.share * part;
    for (auto& [name, own_share] : due.overrides) own_share *= part;
    now.budget = Budget{BudgetUnit::kMacs, macs_of_equal_shares(groups, dense, due)};
  } else {
    const int64_t due = std::llround(target.share * part * static_cast<double>(pool)) - (pool - left);
    now.share = left > 0 ? share_for(std::max(int64_t{0}, due), left) : 0;
  }
  return now;
}

WeightTarget step_target(const WeightTarget& target, int step, int steps) {
  check_step(step, steps);
  if (target.m > 0)
    throw UsageError("an n:m pattern cannot be reached in several rounds; use one round, or a sparsity or a share of channels");
  WeightTarget now = target;
  if (step < steps) now.sparsity = target.sparsity * step / steps;  // the last round uses the exact target, without rounding
  return now;
}

PrunePlan compose(const PrunePlan& first, const PrunePlan& second) {
  PrunePlan both = first;
  both.criterion = second.criterion;
  both.target = second.target;
  for (const GroupCut& cut : second.groups) {
    GroupCut* const before = find_cut(both.groups, [&](const GroupCut& c) { return c.group == cut.group; });
    if (before == nullptr) {
      both.groups.push_back(cut);
    } else {
      *before = composed(*before, cut);
    }
  }
  for (const WeightCut& cut : second.weights) {
    WeightCut* const before = find_cut(both.weights, [&](const WeightCut& c) { return c.node == cut.node; });
    if (before == nullptr) {
      both.weights.push_back(cut);
    } else {
      *before = composed(*before, cut);
    }
  }
  return both;
}

}  // namespace elek
