// SPDX-License-Identifier: Apache-2.0
// Channel selection: which channels go (the lowest scores, in each convolution group), of as many as prune/counts.h says. Pure
// functions of numbers, with the same result on every machine.
// Tests: tests/prune/select_test.cpp
#include "prune/select.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "prune/counts.h"
#include "prune/early_checks.h"

namespace elek {
namespace {

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

const char* name_of(BudgetUnit unit) {
  switch (unit) {
    case BudgetUnit::kMacs:
      return "macs";
    case BudgetUnit::kParameters:
      return "params";
    case BudgetUnit::kFileBytes:
      return "file-bytes";
    case BudgetUnit::kMemory:
      return "memory";
    case BudgetUnit::kLatency:
      return "latency-us";
  }
  throw ContractError("budget unit " + std::to_string(static_cast<int>(unit)) + " has no name");
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

namespace {

/// Limits are large numbers, so whole ones say them exactly enough.
std::string limit_text(double limit) { return std::to_string(std::llround(limit)); }

}  // namespace

std::string target_text(const ChannelTarget& target) {
  std::string text = target.budget ? std::string(name_of(target.budget->unit)) + "=" + limit_text(target.budget->limit)
                                   : "channels=" + share_text(target.share);
  text += std::string(" scope=") + name_of(target.scope);
  const std::string count = target.round_to == 0 ? "auto" : std::to_string(target.round_to);
  text += " round-to=" + (target.round ? "measured" : count);
  for (const auto& [name, share] : target.overrides) text += " layer=" + name + "=" + share_text(share);
  for (const std::string& name : target.ignore) text += " ignore=" + name;
  return text;
}

PrunePlan select_channels(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores, const Graph& graph,
                          const ChannelTarget& target) {
  check_target(groups, graph, target);
  check_scores(groups, scores);
  return plan_of_counts(groups, scores, kept_counts(groups, scores, graph, target), target);
}

PrunePlan plan_of_counts(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                         const std::vector<int64_t>& kept, const ChannelTarget& target) {
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
