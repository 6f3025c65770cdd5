// SPDX-License-Identifier: Apache-2.0
// Scope::kMacs: chooses the group that gives the next channels, by cost per saved MAC.
// Tests: tests/prune/select_macs_test.cpp
#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"
#include "prune/select.h"

namespace elek {
namespace {

/// The part of a value's channels that is a group's.
struct Part {
  size_t group = 0;
  double share = 1;
};

std::vector<Part> parts_of(const std::vector<ValueSegment>& segments, int64_t channels) {
  std::vector<Part> parts;
  parts.reserve(segments.size());
  for (const ValueSegment& each : segments)
    parts.push_back({each.group, static_cast<double>(each.count) / static_cast<double>(channels)});
  return parts;
}

/// MACs of one uncut layer, and the groups that make it smaller when they lose channels.
struct LayerMacs {
  double macs = 0;
  std::vector<Part> input;
  std::vector<Part> output;
  bool depthwise = false;
};

std::vector<LayerMacs> layers_of(const std::vector<Group>& groups, const Graph& graph) {
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  std::vector<LayerMacs> layers;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const int64_t count = macs(graph, node);
    if (count == 0) continue;
    const auto parts = [&](size_t value) { return parts_of(segments[value], graph.nodes()[value].shape.channels); };
    layers.push_back(
        {static_cast<double>(count), parts(at(node.inputs.at(0))), parts(i), is_depthwise(graph, static_cast<ValueId>(i))});
  }
  return layers;
}

/// MACs of the network for given counts. A change of one group's count affects only the layers that make or read the group.
class Budget {
 public:
  Budget(const std::vector<Group>& groups, const Graph& graph, std::vector<int64_t> kept)
      : groups_(groups), layers_(layers_of(groups, graph)), kept_(std::move(kept)), touching_(groups.size()) {
    for (size_t l = 0; l < layers_.size(); ++l) {
      std::set<size_t> groups_there;
      for (const std::vector<Part>* parts : {&layers_[l].input, &layers_[l].output}) {
        for (const Part& part : *parts) groups_there.insert(part.group);
      }
      for (const size_t g : groups_there) touching_[g].push_back(l);
    }
  }
  [[nodiscard]] double total() const {
    double sum = 0;
    for (size_t l = 0; l < layers_.size(); ++l) sum += layer(l);
    return sum;
  }
  /// MACs that are saved if group g keeps only `kept` channels.
  [[nodiscard]] double saved(size_t g, int64_t kept) {
    double before = 0, after = 0;
    for (const size_t l : touching_[g]) before += layer(l);
    const int64_t old = std::exchange(kept_[g], kept);
    for (const size_t l : touching_[g]) after += layer(l);
    kept_[g] = old;
    return before - after;
  }
  [[nodiscard]] std::vector<int64_t>& kept() noexcept { return kept_; }

 private:
  [[nodiscard]] double share(const std::vector<Part>& parts) const {
    double sum = 0;
    for (const Part& part : parts)
      sum += part.share * (static_cast<double>(kept_[part.group]) / static_cast<double>(groups_[part.group].channels));
    return sum;
  }
  [[nodiscard]] double layer(size_t l) const {
    const LayerMacs& a = layers_[l];
    return a.macs * share(a.output) * (a.depthwise ? 1.0 : share(a.input));
  }

  const std::vector<Group>& groups_;
  std::vector<LayerMacs> layers_;
  std::vector<int64_t> kept_;
  std::vector<std::vector<size_t>> touching_;
};

/// The best next count of a group: the one with the least cost per saved MAC.
struct Offer {
  double rate = std::numeric_limits<double>::infinity();  // cost per MAC
  int64_t kept = 0;
};

Offer best_offer(const Group& group, size_t g, const std::vector<double>& sorted, int64_t round_to, double wanted,
                 Budget& budget) {
  Offer best;
  const int64_t now = budget.kept()[g], step = kept_step(group.channels, group.conv_groups, round_to);
  const auto cost_at = [&](int64_t kept) { return kept == group.channels ? 0.0 : sorted[at(group.channels - kept - 1)]; };
  for (int64_t kept = (now - 1) / step * step; kept >= step; kept -= step) {
    const double saved = budget.saved(g, kept);
    const double rate = (cost_at(kept) - cost_at(now)) / saved;
    if (saved > 0 && rate < best.rate) best = {rate, kept};
    if (saved >= wanted) break;
  }
  return best;
}

}  // namespace

double macs_with(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& kept) {
  return Budget(groups, graph, kept).total();
}

std::vector<int64_t> kept_by_cost(const std::vector<Group>& groups, const std::vector<std::vector<double>>& costs,
                                  const Graph& graph, const std::vector<bool>& pooled, std::vector<int64_t> kept,
                                  int64_t round_to, double macs) {
  Budget budget(groups, graph, std::move(kept));
  std::vector<std::vector<double>> sorted = costs;
  for (std::vector<double>& list : sorted) std::sort(list.begin(), list.end());
  for (double left = budget.total() - macs; left > 0; left = budget.total() - macs) {
    Offer best;
    size_t giver = groups.size();
    for (size_t g = 0; g < groups.size(); ++g) {
      if (!pooled[g]) continue;
      const Offer offer = best_offer(groups[g], g, sorted[g], round_to, left, budget);
      if (offer.rate < best.rate) {
        best = offer;
        giver = g;
      }
    }
    if (giver == groups.size()) break;
    budget.kept()[giver] = best.kept;
  }
  return budget.kept();
}

}  // namespace elek
