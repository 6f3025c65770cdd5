// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cli/info.h"
#include "prune/groups.h"

namespace elek::cli {
namespace {

constexpr size_t kWidth = 100;

std::vector<std::string> names(const Graph& graph, const std::vector<ValueId>& nodes) {
  std::vector<std::string> found;
  found.reserve(nodes.size());
  for (const ValueId node : nodes) found.push_back(graph.node(node).name);
  return found;
}

std::vector<ValueId> readers(const Group& group) {
  std::vector<ValueId> nodes;
  for (const GroupConsumer& edge : group.consumers) nodes.push_back(edge.node);
  return nodes;
}

/// The group's values; one that other groups share is followed by the group's channels in it: block[22:28].
std::vector<std::string> places(const Graph& graph, const Group& group) {
  std::vector<std::string> found;
  for (const GroupSegment& segment : group.segments) {
    const Node& node = graph.node(segment.value);
    std::string text = node.name;
    if (segment.count != node.shape.channels)
      text += "[" + std::to_string(segment.first) + ":" + std::to_string(segment.first + segment.count) + "]";
    found.push_back(std::move(text));
  }
  return found;
}

Json segments_json(const Graph& graph, const Group& group) {
  Json list = Json::array();
  for (const GroupSegment& segment : group.segments)
    list.push_back({{"value", graph.node(segment.value).name}, {"first", segment.first}, {"count", segment.count}});
  return list;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// The group's number of channels and, if it cannot be cut, the reason.
std::string kind(const Graph& graph, const Group& group) {
  if (group.prunable) {
    std::string text = with_commas(group.channels) + " channels";
    if (group.conv_groups > 1)
      text += ", equally many from each of " + std::to_string(group.conv_groups) + " convolution groups";
    return text;
  }
  for (const ValueId v : group.values) {
    if (graph.node(v).is<InputAttrs>()) return with_commas(group.channels) + " channels, never cut: the network's input";
    if (v == graph.output()) return with_commas(group.channels) + " channels, never cut: the logits";
  }
  return with_commas(group.channels) + " channels, never cut: no cut fits all values that are tied to them";
}

}  // namespace

std::string wrapped(const std::string& label, const std::string& text) {
  std::string lines = label;
  size_t column = label.size();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (column + 1 + word.size() > kWidth && column > label.size()) {
      lines += "\n" + std::string(label.size(), ' ');
      column = label.size();
    }
    lines += " " + word;
    column += 1 + word.size();
    begin = end + 1;
  }
  return lines + "\n";
}

std::string groups_text(const Graph& graph) {
  std::string text;
  for (const Group& group : find_groups(graph)) {
    text += group.name + ": " + kind(graph, group) + "\n";
    if (!group.producers.empty()) text += wrapped("  made by", joined(names(graph, group.producers)));
    text += wrapped("  values ", joined(places(graph, group)));
    text += wrapped("  watched", joined(names(graph, group.watched)));
    if (!group.consumers.empty()) text += wrapped("  read by", joined(names(graph, readers(group))));
  }
  return text;
}

Json groups_json(const Graph& graph) {
  Json list = Json::array();
  for (const Group& group : find_groups(graph)) {
    list.push_back({{"name", group.name},
                    {"channels", group.channels},
                    {"conv_groups", group.conv_groups},
                    {"prunable", group.prunable},
                    {"producers", names(graph, group.producers)},
                    {"values", names(graph, group.values)},
                    {"segments", segments_json(graph, group)},
                    {"watched", names(graph, group.watched)},
                    {"consumers", names(graph, readers(group))}});
  }
  return list;
}

}  // namespace elek::cli
