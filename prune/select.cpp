// SPDX-License-Identifier: Apache-2.0
// Channel selection: how many channels each group loses (share or global pool, then rounding), then which ones (the lowest
// scores, in each convolution group). Pure functions of numbers, with the same result on every machine.
// Tests: tests/prune/select_test.cpp
#include "prune/select.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "prune/early_checks.h"

namespace elek {
namespace {

void check_share(double share, const std::string& what) {
  if (!(share >= 0.0 && share < 1.0)) {  // written so that NaN is refused too
    throw UsageError(what + " is " + share_text(share) + ", expected at least 0 and less than 1");
  }
}

/// What is asked of each group: its share of channels, and whether it is in the global pool.
struct Wish {
  double share = 0;
  bool pooled = true;
};

std::vector<Wish> read_wishes(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  check_share(target.share, "the share of channels");
  std::vector<Wish> wishes(groups.size(), Wish{target.share, target.scope != Scope::kLayer});
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) wishes[g] = {0, false};
  }
  std::vector<std::string> asked(groups.size());
  for (const auto& [name, share] : target.overrides) {
    check_share(share, "the share for '" + name + "'");
    const size_t g = find_group(graph, groups, name);
    if (!groups[g].prunable) {
      throw UsageError("'" + name + "' cannot be cut: its channels are the network's input or its logits, or no cut fits all " +
                       "values tied to them");
    }
    if (!asked[g].empty()) {
      throw UsageError("'" + asked[g] + "' and '" + name + "' are in one group ('" + groups[g].name + "'); give one share");
    }
    asked[g] = name;
    wishes[g] = {share, false};
  }
  for (const std::string& name : target.ignore) {
    const size_t g = find_group(graph, groups, name);
    if (!asked[g].empty()) {
      throw UsageError("'" + name + "' is to be ignored, but '" + asked[g] + "' in the same group ('" + groups[g].name +
                       "') has a share; leave out one of them");
    }
    wishes[g] = {0, false};
  }
  return wishes;
}

/// How many channels the pool takes from each group: the lowest of all scores, after division by their group's mean.
void take_from_pool(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                    const std::vector<Wish>& wishes, double share, std::vector<int64_t>& removed) {
  struct Candidate {
    double score;
    size_t group;
  };
  std::vector<Candidate> pool;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!wishes[g].pooled) continue;
    const double mean = std::accumulate(scores[g].begin(), scores[g].end(), 0.0) / static_cast<double>(groups[g].channels);
    // A group whose scores are all zero has no mean to divide by. Its channels do no work: they stay at zero and go first.
    for (const double score : scores[g]) pool.push_back({mean > 0 ? score / mean : 0.0, g});
  }
  std::stable_sort(pool.begin(), pool.end(), [](const Candidate& a, const Candidate& b) { return a.score < b.score; });
  int64_t wanted = std::llround(share * static_cast<double>(pool.size()));
  for (const Candidate& candidate : pool) {
    if (wanted == 0) break;
    if (removed[candidate.group] + 1 >= groups[candidate.group].channels) continue;  // never the last channel
    ++removed[candidate.group];
    --wanted;
  }
}

/// The `count` channels of the group with the highest scores, equally many from each convolution group; ascending.
std::vector<int64_t> keep_highest(const std::vector<double>& scores, int64_t conv_groups, int64_t count) {
  const int64_t channels = std::ssize(scores);
  const int64_t width = channels / conv_groups;
  std::vector<int64_t> keep;
  for (int64_t first = 0; first < channels; first += width) {
    std::vector<int64_t> order(at(width));
    std::iota(order.begin(), order.end(), first);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[at(a)] < scores[at(b)]; });
    keep.insert(keep.end(), order.end() - count / conv_groups, order.end());
  }
  std::sort(keep.begin(), keep.end());
  return keep;
}

void check_scores(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores) {
  ELEK_CHECK(scores.size() == groups.size(), "select_channels: " + std::to_string(scores.size()) + " lists of scores for " +
                                                 std::to_string(groups.size()) + " groups");
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) continue;
    ELEK_CHECK(std::ssize(scores[g]) == groups[g].channels, "group '" + groups[g].name + "' has " +
                                                                std::to_string(groups[g].channels) + " channels and " +
                                                                std::to_string(scores[g].size()) + " scores");
    for (const double score : scores[g]) {
      // Negative scores are allowed: means of raw convolutions can be negative.
      ELEK_CHECK(std::isfinite(score),
                 "group '" + groups[g].name + "' has the score " + std::to_string(score) + ", expected finite");
    }
  }
}

}  // namespace

std::string share_text(double share) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), share).ptr;
  return {text.data(), end};
}

const char* name_of(Scope scope) {
  switch (scope) {
    case Scope::kLayer:
      return "layer";
    case Scope::kGlobal:
      return "global";
    case Scope::kMacs:
      return "macs";
  }
  throw ContractError("scope " + std::to_string(static_cast<int>(scope)) + " has no name");
}

std::string target_text(const ChannelTarget& target) {
  std::string text = "channels=" + share_text(target.share);
  text += std::string(" scope=") + name_of(target.scope);
  const std::string count = target.round_to == 0 ? "auto" : std::to_string(target.round_to);
  text += " round-to=" + (target.round ? "measured" : count);
  for (const auto& [name, share] : target.overrides) text += " layer=" + name + "=" + share_text(share);
  for (const std::string& name : target.ignore) text += " ignore=" + name;
  return text;
}

int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to) {
  const int64_t multiple = round_to > 0 ? round_to : (channels >= 64 ? 8 : 1);
  const int64_t step = std::lcm(multiple, conv_groups);
  return round_to == 0 && step > channels ? conv_groups : step;  // auto is only a preference: it must not keep a whole group
}

int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to) {
  ELEK_CHECK(conv_groups > 0 && channels % conv_groups == 0 && removed >= 0 && round_to >= 0,
             "kept_count: " + std::to_string(channels) + " channels in " + std::to_string(conv_groups) +
                 " convolution groups, " + std::to_string(removed) + " removed, multiples of " + std::to_string(round_to));
  if (removed == 0) return channels;
  const int64_t step = kept_step(channels, conv_groups, round_to);
  const int64_t kept = channels - removed;
  const int64_t nearest = (2 * kept + step) / (2 * step) * step;
  return std::min(channels, std::max(step, nearest));
}

int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target) {
  if (!target.round || removed == 0) return kept_count(group.channels, removed, group.conv_groups, target.round_to);
  const int64_t kept = target.round(graph, group, std::max(group.conv_groups, group.channels - removed));
  ELEK_CHECK(kept > 0 && kept <= group.channels && kept % group.conv_groups == 0,
             "group '" + group.name + "': rounding gave " + std::to_string(kept) + " of " + std::to_string(group.channels) +
                 " channels in " + std::to_string(group.conv_groups) + " convolution groups");
  return kept;
}

namespace {

/// How many channels each group keeps if this many were to go.
std::vector<int64_t> kept_after(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& removed,
                                const ChannelTarget& target) {
  std::vector<int64_t> kept;
  for (size_t g = 0; g < groups.size(); ++g)
    kept.push_back(groups[g].prunable ? kept_of(graph, groups[g], removed[g], target) : groups[g].channels);
  return kept;
}

std::vector<int64_t> removed_by_share(const std::vector<Group>& groups, const std::vector<Wish>& wishes) {
  std::vector<int64_t> removed;
  for (size_t g = 0; g < groups.size(); ++g)
    removed.push_back(std::llround(wishes[g].share * static_cast<double>(groups[g].channels)));
  return removed;
}

double macs_by_share(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes,
                     ChannelTarget target) {
  target.round = nullptr;  // a budget must be the same on every machine
  return macs_with(groups, graph, kept_after(groups, graph, removed_by_share(groups, wishes), target));
}

/// How many channels each group keeps.
std::vector<int64_t> kept_counts(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                 const Graph& graph, const std::vector<Wish>& wishes, const ChannelTarget& target) {
  std::vector<int64_t> removed = removed_by_share(groups, wishes);
  std::vector<bool> pooled;
  for (size_t g = 0; g < groups.size(); ++g) {
    pooled.push_back(wishes[g].pooled);
    if (wishes[g].pooled) removed[g] = 0;
  }
  if (target.scope == Scope::kGlobal) take_from_pool(groups, scores, wishes, target.share, removed);
  std::vector<int64_t> kept = kept_after(groups, graph, removed, target);
  if (target.scope != Scope::kMacs) return kept;
  const double macs = target.macs ? *target.macs : macs_by_share(groups, graph, wishes, target);
  kept = kept_by_cost(groups, scores, graph, pooled, std::move(kept), target.round_to, macs);
  if (!target.round) return kept;
  for (size_t g = 0; g < groups.size(); ++g) removed[g] = pooled[g] ? groups[g].channels - kept[g] : removed[g];
  return kept_after(groups, graph, removed, target);
}

}  // namespace

void check_target(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  if (target.round_to < 0)
    throw UsageError("round-to is " + std::to_string(target.round_to) + ", expected 0 (auto) or at least 1");
  (void)read_wishes(groups, graph, target);
}

bool removes_nothing(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  if (target.round) return false;
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  std::vector<int64_t> removed = removed_by_share(groups, wishes);
  if (target.scope == Scope::kGlobal) {  // at most so many; the scores decide where
    int64_t pool = 0;
    for (size_t g = 0; g < groups.size(); ++g) pool += wishes[g].pooled ? groups[g].channels : 0;
    const bool any = std::llround(target.share * static_cast<double>(pool)) > 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (wishes[g].pooled) removed[g] = any ? groups[g].channels - 1 : 0;
    }
  }
  const std::vector<int64_t> kept = kept_after(groups, graph, removed, target);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (kept[g] != groups[g].channels) return false;
  }
  return true;
}

double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  return macs_by_share(groups, graph, read_wishes(groups, graph, target), target);
}

double share_for_macs(const std::vector<Group>& groups, const Graph& graph, ChannelTarget target, double macs) {
  const auto left_by = [&](int64_t thousandths) {
    target.share = static_cast<double>(thousandths) / 1000;
    return macs_of_equal_shares(groups, graph, target);
  };
  int64_t too_few = -1, enough = 999;  // a larger share never leaves more MACs
  if (left_by(enough) > macs) {
    throw UsageError("at most " + share_text(macs) + " of " + share_text(left_by(0)) +
                     " MACs per image were to be left, but without 0.999 of every group " + share_text(left_by(enough)) +
                     " are left; keep a larger share, or ignore fewer groups");
  }
  while (enough - too_few > 1) {
    const int64_t middle = (enough + too_few) / 2;
    (left_by(middle) > macs ? too_few : enough) = middle;
  }
  return static_cast<double>(enough) / 1000;
}

PrunePlan select_channels(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores, const Graph& graph,
                          const ChannelTarget& target) {
  check_target(groups, graph, target);
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  check_scores(groups, scores);
  const std::vector<int64_t> kept = kept_counts(groups, scores, graph, wishes, target);
  PrunePlan plan;
  plan.target = target_text(target);
  for (size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    if (!group.prunable || kept[g] == group.channels) continue;
    plan.groups.push_back({group.name, group.channels, keep_highest(scores[g], group.conv_groups, kept[g]), scores[g]});
  }
  return plan;
}

}  // namespace elek
