// SPDX-License-Identifier: Apache-2.0
#include "prune/resolve.h"

#include <algorithm>
#include <set>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"

namespace elek {
namespace {

void check_cut(const Group& group, const GroupCut& cut) {
  const std::string who = "plan: group '" + cut.group + "' ";
  ELEK_CHECK(group.prunable,
             who + "cannot be cut: its channels are the network's input or its logits, or no cut fits all values tied to them");
  ELEK_CHECK(cut.channels == group.channels, who + "has " + std::to_string(group.channels) + " channels, the plan expects " +
                                                 std::to_string(cut.channels) + "; was it made for another model?");
  ELEK_CHECK(cut.scores.empty() || std::ssize(cut.scores) == cut.channels,
             who + "has " + std::to_string(cut.scores.size()) + " scores, expected " + std::to_string(cut.channels));
  ELEK_CHECK(!cut.keep.empty(), who + "would lose all " + std::to_string(cut.channels) + " channels");
  for (size_t i = 0; i < cut.keep.size(); ++i) {
    const bool ascends = i == 0 || cut.keep[i - 1] < cut.keep[i];
    ELEK_CHECK(cut.keep[i] >= 0 && cut.keep[i] < cut.channels && ascends,
               who + "keep[" + std::to_string(i) + "] = " + std::to_string(cut.keep[i]) +
                   ", expected strictly increasing in [0, " + std::to_string(cut.channels) + ")");
  }
  const int64_t width = group.channels / group.conv_groups;
  std::vector<int64_t> kept(at(group.conv_groups), 0);
  for (const int64_t c : cut.keep) ++kept[at(c / width)];
  const auto [fewest, most] = std::minmax_element(kept.begin(), kept.end());
  ELEK_CHECK(*fewest == *most, who + "keeps " + std::to_string(*fewest) + " to " + std::to_string(*most) + " channels in its " +
                                   std::to_string(group.conv_groups) + " convolution groups, expected equal counts");
}

void check_mask(const Model& model, const WeightCut& cut) {
  const std::string who = "plan: weights of '" + cut.node + "' ";
  const ValueId id = model.graph.find(cut.node);
  ELEK_CHECK(id >= 0, who + "are to be cut, but the model has no such layer; was the plan made for another model?");
  const LayerWeights layer = layer_weights(model, id);
  ELEK_CHECK(cut.keep.size() == layer.data.size(), who + "need a mask of " + std::to_string(layer.data.size()) +
                                                       " elements, found " + std::to_string(cut.keep.size()));
  int64_t zeros = 0;
  for (const uint8_t keep : cut.keep) {
    ELEK_CHECK(keep <= 1, who + "have the mask value " + std::to_string(keep) + ", expected 0 or 1");
    zeros += keep == 0 ? 1 : 0;
  }
  ELEK_CHECK(zeros == cut.removed,
             who + "have " + std::to_string(zeros) + " zeros in the mask, the plan expects " + std::to_string(cut.removed));
  ELEK_CHECK(zeros < std::ssize(cut.keep), who + "would all be zero");
}

/// Appends what stays of a segment: the kept channels as elements of the value, or all if the group is not cut.
void add_segment(const Group& group, const ValueSegment& segment, const GroupCut* cut, std::vector<int64_t>& keep) {
  if (cut == nullptr) {
    for (int64_t i = 0; i < segment.count; ++i) keep.push_back(segment.first + i);
    return;
  }
  const int64_t width = segment.count / group.channels;
  for (const int64_t c : cut->keep) {
    for (int64_t i = 0; i < width; ++i) keep.push_back(segment.first + c * width + i);
  }
}

}  // namespace

bool ResolvedPlan::cuts(const Graph& graph, ValueId value) const {
  return std::ssize(keep.at(at(value))) != graph.node(value).shape.channels;
}

ResolvedPlan resolve(const Model& model, const PrunePlan& plan) {
  const std::vector<Group> groups = find_groups(model.graph);
  std::map<std::string, const GroupCut*> cuts;
  for (const GroupCut& cut : plan.groups) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == cut.group; });
    ELEK_CHECK(group != groups.end(), "plan: the model has no group '" + cut.group + "'; was the plan made for another model?");
    ELEK_CHECK(cuts.emplace(cut.group, &cut).second, "plan: group '" + cut.group + "' is cut twice");
    check_cut(*group, cut);
  }
  ResolvedPlan resolved;
  for (const WeightCut& cut : plan.weights) {
    check_mask(model, cut);
    ELEK_CHECK(resolved.weights.emplace(cut.node, &cut).second, "plan: weights of '" + cut.node + "' are cut twice");
  }
  for (const std::vector<ValueSegment>& segments : segments_of_values(model.graph, groups)) {
    std::vector<int64_t>& keep = resolved.keep.emplace_back();
    for (const ValueSegment& segment : segments) {
      const Group& group = groups[segment.group];
      const auto cut = cuts.find(group.name);
      add_segment(group, segment, cut == cuts.end() ? nullptr : cut->second, keep);
    }
  }
  return resolved;
}

Parameters zero_weights(const Model& model, const ResolvedPlan& plan, MemoryResource& resource) {
  Parameters parameters = model.parameters;
  for (const auto& [node, cut] : plan.weights) {
    const std::string name = node + ".weight";
    auto weight = std::make_shared<Tensor>(model.parameter(name).clone(resource, {name, Use::kModel}));
    const std::span<float> data = weight->f32();
    for (size_t i = 0; i < data.size(); ++i) {
      if (cut->keep[i] == 0) data[i] = 0.0F;
    }
    parameters[name] = std::move(weight);
  }
  return parameters;
}

}  // namespace elek
