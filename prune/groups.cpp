// SPDX-License-Identifier: Apache-2.0
// Finds groups by union-find over the graph's values. Uses only integers and the graph, no weights, and runs nothing.
// Tests: tests/prune/groups_test.cpp
#include "prune/groups.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/error.h"
#include "core/hint.h"

namespace elek {
namespace {

class UnionFind {
 public:
  explicit UnionFind(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }
  size_t root(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void tie(size_t a, size_t b) {  // the smaller index stays the root, so groups are ordered by first value
    a = root(a);
    b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

size_t index(ValueId value) { return static_cast<size_t>(value); }

std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(graph.nodes().size(), false);
  live[index(graph.output())] = true;
  for (size_t i = live.size(); i-- > 0;) {
    if (!live[i]) continue;
    for (const ValueId input : graph.nodes()[i].inputs) live[index(input)] = true;
  }
  return live;
}

void fill_members(const Graph& graph, const std::vector<bool>& live, Group& group) {
  for (const ValueId v : group.values) {
    if (!live[index(v)]) continue;
    const Node& node = graph.node(v);
    if (op_class(node) == OpClass::kActivation) group.watched.push_back(v);
    if (has_weights(node)) group.producers.push_back(v);
    for (const ValueId reader : graph.consumers(v)) {
      if (live[index(reader)] && has_weights(graph.node(reader))) group.consumers.push_back({reader, v});
    }
  }
  group.name = graph.node(group.watched.empty() ? group.values.front() : group.watched.front()).name;
  if (group.watched.empty()) group.watched.push_back(group.values.back());
}

/// Whether each of the group's values has a whole number of elements per channel (see spread()).
bool spreads_evenly(const Graph& graph, const Group& group) {
  return std::all_of(group.values.begin(), group.values.end(),
                     [&](ValueId v) { return graph.node(v).shape.channels % group.channels == 0; });
}

void constrain(Group& group, int64_t conv_groups) {
  group.conv_groups = std::lcm(group.conv_groups, conv_groups);
  // A convolution group of one channel cannot lose any. If the convolution groups do not divide the channels evenly, no cut
  // can.
  if (group.channels % group.conv_groups != 0 || group.channels == group.conv_groups) group.prunable = false;
}

}  // namespace

bool is_depthwise(const Graph& graph, ValueId id) {
  const Node& node = graph.node(id);
  return node.is<Conv2dAttrs>() && node.as<Conv2dAttrs>().is_depthwise(graph.node(node.inputs.at(0)).shape.channels);
}

std::vector<Group> find_groups(const Graph& graph) {
  const size_t count = graph.nodes().size();
  ELEK_CHECK(count > 0, "find_groups: the graph is empty");
  UnionFind ties(count);
  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph.nodes()[i];
    if (channel_flow(graph, node).how != ChannelFlow::How::kTies) continue;
    for (const ValueId input : node.inputs) ties.tie(i, index(input));
  }
  std::vector<Group> groups;
  std::map<size_t, size_t> group_of_root;
  for (size_t i = 0; i < count; ++i) {
    const auto [found, fresh] = group_of_root.try_emplace(ties.root(i), groups.size());
    if (fresh) groups.emplace_back();
    groups[found->second].values.push_back(static_cast<ValueId>(i));
  }
  const std::vector<bool> live = live_nodes(graph);
  for (Group& group : groups) {
    group.channels = graph.node(group.values.front()).shape.channels;
    for (const ValueId v : group.values) group.channels = std::min(group.channels, graph.node(v).shape.channels);
    fill_members(graph, live, group);
    group.prunable = group.channels > 1 && spreads_evenly(graph, group);
    for (const ValueId v : group.values) {
      if (v == graph.output() || graph.node(v).is<InputAttrs>()) group.prunable = false;
    }
  }
  const std::vector<size_t> group_of = group_of_values(graph, groups);
  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph.nodes()[i];
    const ChannelFlow flow = channel_flow(graph, node);
    if (flow.groups == 1) continue;
    constrain(groups[group_of[index(node.inputs.at(0))]], flow.groups);
    constrain(groups[group_of[i]], flow.groups);
  }
  return groups;
}

std::vector<size_t> group_of_values(const Graph& graph, const std::vector<Group>& groups) {
  std::vector<size_t> group_of(graph.nodes().size(), groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const ValueId v : groups[g].values) {
      ELEK_CHECK(v >= 0 && index(v) < group_of.size(), "group '" + groups[g].name + "' names value " + std::to_string(v) +
                                                           ", the graph has " + std::to_string(group_of.size()) +
                                                           "; were the groups found in another graph?");
      group_of[index(v)] = g;
    }
  }
  for (size_t i = 0; i < group_of.size(); ++i) {
    ELEK_CHECK(group_of[i] < groups.size(),
               "value '" + graph.nodes()[i].name + "' is in no group; were the groups found in another graph?");
  }
  return group_of;
}

size_t find_group(const Graph& graph, const std::vector<Group>& groups, const std::string& name) {
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].name == name) return g;
  }
  const ValueId value = graph.find(name);
  if (value < 0) throw Hinted<UsageError>(Hint::kGroupNames, "no group or value has the name '" + name + "'");
  return group_of_values(graph, groups)[index(value)];
}

int64_t spread(const Graph& graph, const Group& group, ValueId value) {
  const int64_t channels = graph.node(value).shape.channels;
  ELEK_CHECK(group.channels > 0 && channels % group.channels == 0,
             "value '" + graph.node(value).name + "' has " + std::to_string(channels) +
                 " channels, expected a multiple of the " + std::to_string(group.channels) + " of its group '" + group.name +
                 "'");
  return channels / group.channels;
}

bool is_classifier(const Graph& graph, const std::vector<Group>& groups, ValueId node) {
  const std::vector<size_t> group_of = group_of_values(graph, groups);
  return group_of.at(index(node)) == group_of.at(index(graph.output()));
}

}  // namespace elek
