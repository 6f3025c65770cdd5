// SPDX-License-Identifier: Apache-2.0
// Finds groups in two steps. First the borders: a concatenation divides its result's channels, and every value tied to it in
// the same way. Then union-find over the segments between the borders. Uses only integers and the graph, no weights, and runs
// nothing.
// Tests: tests/prune/groups_test.cpp, tests/prune/concat_test.cpp
#include "prune/groups.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/at.h"
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
  void tie(size_t a, size_t b) {  // the smaller index stays the root, so groups are ordered by first segment
    a = root(a);
    b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

/// Channel c of value `part` is cut together with channels [first + c * width, first + (c + 1) * width) of value `whole`.
struct Tie {
  size_t whole = 0;
  int64_t first = 0;
  size_t part = 0;
  int64_t width = 1;  // above 1 after flattening an image
};

std::vector<Tie> ties_of(const Graph& graph) {
  std::vector<Tie> ties;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const ChannelFlow::How how = channel_flow(graph, node).how;
    if (how != ChannelFlow::How::kTies && how != ChannelFlow::How::kJoins) continue;
    int64_t first = 0;
    for (const ValueId input : node.inputs) {
      const int64_t channels = graph.node(input).shape.channels;
      const bool joins = how == ChannelFlow::How::kJoins;
      ELEK_CHECK(joins || node.shape.channels % channels == 0, "'" + node.name + "' ties " + std::to_string(channels) +
                                                                   " channels to " + std::to_string(node.shape.channels));
      ties.push_back({i, first, at(input), joins ? 1 : node.shape.channels / channels});
      if (joins) first += channels;
    }
  }
  return ties;
}

using Borders = std::vector<std::set<int64_t>>;  // [value]: 0, the number of channels, and what lies between

/// Copies the borders of each of the two values to the other; true if one is new. A border inside a flattened channel stays
/// where it is.
bool copy_borders(const Tie& tie, int64_t channels, Borders& borders) {
  std::set<int64_t>& whole = borders[tie.whole];
  std::set<int64_t>& part = borders[tie.part];
  const size_t before = whole.size() + part.size();
  for (const int64_t border : part) whole.insert(tie.first + border * tie.width);
  const auto end = whole.upper_bound(tie.first + channels * tie.width);
  for (auto border = whole.lower_bound(tie.first); border != end; ++border) {
    if ((*border - tie.first) % tie.width == 0) part.insert((*border - tie.first) / tie.width);
  }
  return whole.size() + part.size() != before;
}

Borders find_borders(const Graph& graph, const std::vector<Tie>& ties) {
  Borders borders;
  for (const Node& node : graph.nodes()) borders.push_back({0, node.shape.channels});
  for (bool changed = true; changed;) {
    changed = false;
    const auto copy = [&](const Tie& tie) {
      if (copy_borders(tie, graph.nodes()[tie.part].shape.channels, borders)) changed = true;
    };
    std::for_each(ties.begin(), ties.end(), copy);    // towards the output
    std::for_each(ties.rbegin(), ties.rend(), copy);  // and back
  }
  return borders;
}

/// The segments of all values, numbered in order, and which of them are cut together.
class Segments {
 public:
  Segments(const Graph& graph, const std::vector<Tie>& ties) {
    const Borders borders = find_borders(graph, ties);
    for (size_t v = 0; v < borders.size(); ++v) {
      begin_.push_back(all_.size());
      for (auto border = borders[v].begin(); std::next(border) != borders[v].end(); ++border)
        all_.push_back({static_cast<ValueId>(v), *border, *std::next(border) - *border});
    }
    begin_.push_back(all_.size());
    ties_ = UnionFind(all_.size());
    uneven_.resize(all_.size(), false);
    for (const Tie& tie : ties) {
      for (size_t part = begin_[tie.part]; part < begin_[tie.part + 1]; ++part) join(tie, part);
    }
  }
  [[nodiscard]] const std::vector<GroupSegment>& all() const noexcept { return all_; }
  [[nodiscard]] size_t root(size_t segment) { return ties_.root(segment); }
  /// A border lies inside one of the segment's channels.
  [[nodiscard]] bool is_uneven(size_t segment) const { return uneven_[segment]; }

 private:
  /// Joins a segment of tie.part with those of tie.whole that hold its channels: one, unless a border lies inside a channel.
  void join(const Tie& tie, size_t part) {
    const int64_t first = tie.first + all_[part].first * tie.width, end = first + all_[part].count * tie.width;
    for (size_t whole = begin_[tie.whole]; whole < begin_[tie.whole + 1]; ++whole) {
      const GroupSegment& other = all_[whole];
      if (other.first >= end || other.first + other.count <= first) continue;
      ties_.tie(part, whole);
      if (other.first != first || other.count != end - first) uneven_[part] = true;
    }
  }

  std::vector<GroupSegment> all_;
  std::vector<size_t> begin_;  // [value]: its first segment
  UnionFind ties_{0};
  std::vector<bool> uneven_;
};

std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(graph.nodes().size(), false);
  live[at(graph.output())] = true;
  for (size_t i = live.size(); i-- > 0;) {
    if (!live[i]) continue;
    for (const ValueId input : graph.nodes()[i].inputs) live[at(input)] = true;
  }
  return live;
}

/// Whether all channels of the value are the group's.
bool is_whole(const Graph& graph, const Group& group, ValueId value) {
  int64_t own = 0;
  for (const GroupSegment& segment : segments_in(group, value)) own += segment.count;
  return own == graph.node(value).shape.channels;
}

/// The name of the first activation that holds nothing else, or of the first such value. If there is none: the first value's,
/// with the number of its segment. No two groups have one name.
std::string name_of(const Graph& graph, const Group& group, size_t segment) {
  for (const std::vector<ValueId>* values : {&group.watched, &group.values}) {
    for (const ValueId v : *values) {
      if (is_whole(graph, group, v)) return graph.node(v).name;
    }
  }
  return graph.node(group.values.front()).name + "[" + std::to_string(segment) + "]";
}

void fill_members(const Graph& graph, const std::vector<bool>& live, size_t segment, Group& group) {
  for (const ValueId v : group.values) {
    if (!live[at(v)]) continue;
    const Node& node = graph.node(v);
    if (op_class(node) == OpClass::kActivation) group.watched.push_back(v);
    if (has_weights(node)) group.producers.push_back(v);
    for (const ValueId reader : graph.consumers(v)) {
      if (live[at(reader)] && has_weights(graph.node(reader))) group.consumers.push_back({reader, v});
    }
  }
  group.name = name_of(graph, group, segment);
  if (group.watched.empty()) group.watched.push_back(group.values.back());
}

/// Sets the number of channels and whether they can be cut at all, before convolution groups are looked at.
void count_channels(const Graph& graph, Group& group) {
  group.channels = group.segments.front().count;
  for (const GroupSegment& each : group.segments) group.channels = std::min(group.channels, each.count);
  const auto is_fixed = [&](const GroupSegment& each) {
    return each.count % group.channels != 0 || each.value == graph.output() || graph.node(each.value).is<InputAttrs>();
  };
  group.prunable = group.channels > 1 && std::none_of(group.segments.begin(), group.segments.end(), is_fixed);
}

void constrain(Group& group, int64_t conv_groups) {
  group.conv_groups = std::lcm(group.conv_groups, conv_groups);
  // A convolution group of one channel cannot lose any. If the convolution groups do not divide the channels evenly, no cut
  // can.
  if (group.channels % group.conv_groups != 0 || group.channels == group.conv_groups) group.prunable = false;
}

/// Grouped convolutions want equal counts in each convolution group. If several groups share the value, nothing is cut: their
/// counts would depend on each other.
void constrain_grouped(const Graph& graph, std::vector<Group>& groups) {
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const int64_t conv_groups = channel_flow(graph, node).groups;
    if (conv_groups == 1) continue;
    for (const size_t value : {at(node.inputs.at(0)), i}) {
      const bool alone = segments[value].size() == 1;
      for (const ValueSegment& each : segments[value]) {
        if (alone) {
          constrain(groups[each.group], conv_groups);
        } else {
          groups[each.group].prunable = false;
        }
      }
    }
  }
}

}  // namespace

bool is_depthwise(const Graph& graph, ValueId id) {
  const Node& node = graph.node(id);
  return node.is<Conv2dAttrs>() && node.as<Conv2dAttrs>().is_depthwise(graph.node(node.inputs.at(0)).shape.channels);
}

std::vector<Group> find_groups(const Graph& graph) {
  ELEK_CHECK(!graph.nodes().empty(), "find_groups: the graph is empty");
  Segments segments(graph, ties_of(graph));
  std::vector<Group> groups;
  std::vector<size_t> segment_of;  // [group]: number of its first segment inside its first value
  std::vector<bool> uneven;
  std::map<size_t, size_t> group_of_root;
  size_t in_value = 0;
  for (size_t i = 0; i < segments.all().size(); ++i) {
    const GroupSegment& segment = segments.all()[i];
    in_value = segment.first == 0 ? 0 : in_value + 1;
    const auto [found, fresh] = group_of_root.try_emplace(segments.root(i), groups.size());
    if (fresh) {
      groups.emplace_back();
      segment_of.push_back(in_value);
      uneven.push_back(false);
    }
    Group& group = groups[found->second];
    if (group.values.empty() || group.values.back() != segment.value) group.values.push_back(segment.value);
    group.segments.push_back(segment);
    if (segments.is_uneven(i)) uneven[found->second] = true;
  }
  const std::vector<bool> live = live_nodes(graph);
  for (size_t g = 0; g < groups.size(); ++g) {
    count_channels(graph, groups[g]);
    if (uneven[g]) groups[g].prunable = false;
    fill_members(graph, live, segment_of[g], groups[g]);
  }
  constrain_grouped(graph, groups);
  return groups;
}

std::span<const GroupSegment> segments_in(const Group& group, ValueId value) {
  const auto [first, last] = std::equal_range(group.segments.begin(), group.segments.end(), GroupSegment{value, 0, 0},
                                              [](const auto& a, const auto& b) { return a.value < b.value; });
  return {first, last};
}

std::vector<std::vector<ValueSegment>> segments_of_values(const Graph& graph, const std::vector<Group>& groups) {
  std::vector<std::vector<ValueSegment>> of(graph.nodes().size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const GroupSegment& each : groups[g].segments) {
      ELEK_CHECK(each.value >= 0 && at(each.value) < of.size(),
                 "group '" + groups[g].name + "' names value " + std::to_string(each.value) + ", the graph has " +
                     std::to_string(of.size()) + "; were the groups found in another graph?");
      of[at(each.value)].push_back({g, each.first, each.count});
    }
  }
  for (size_t v = 0; v < of.size(); ++v) {
    std::sort(of[v].begin(), of[v].end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    int64_t next = 0;
    for (const ValueSegment& each : of[v]) next = each.first == next ? next + each.count : -1;
    ELEK_CHECK(next == graph.nodes()[v].shape.channels,
               "the groups do not hold all channels of '" + graph.nodes()[v].name + "'; were they found in another graph?");
  }
  return of;
}

std::vector<int64_t> channels_of(const Graph& graph, const Group& group, ValueId value) {
  std::vector<int64_t> of(at(graph.node(value).shape.channels), -1);
  for (const GroupSegment& segment : segments_in(group, value)) {
    const int64_t width = segment.count / group.channels;
    ELEK_CHECK(width * group.channels == segment.count,
               "'" + graph.node(value).name + "' has " + std::to_string(segment.count) + " channels of group '" + group.name +
                   "', no multiple of its " + std::to_string(group.channels));
    for (int64_t i = 0; i < segment.count; ++i) of[at(segment.first + i)] = i / width;
  }
  return of;
}

size_t find_group(const Graph& graph, const std::vector<Group>& groups, const std::string& name) {
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].name == name) return g;
  }
  const ValueId value = graph.find(name);
  if (value < 0) throw Hinted<UsageError>(Hint::kGroupNames, "no group or value has the name '" + name + "'");
  const std::vector<ValueSegment> segments = segments_of_values(graph, groups)[at(value)];
  for (const ValueSegment& each : segments) {
    if (each.group == segments.front().group) continue;
    throw Hinted<UsageError>(Hint::kGroupNames, "'" + name + "' joins the channels of several groups, '" +
                                                    groups[segments.front().group].name + "' and '" + groups[each.group].name +
                                                    "' among them: name one of these");
  }
  return segments.front().group;
}

bool is_classifier(const Graph& graph, const std::vector<Group>& groups, ValueId node) {
  return std::any_of(groups.begin(), groups.end(), [&](const Group& group) {
    return !segments_in(group, node).empty() && !segments_in(group, graph.output()).empty();
  });
}

}  // namespace elek
