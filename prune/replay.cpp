// SPDX-License-Identifier: Apache-2.0
#include "prune/replay.h"

#include <algorithm>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/apply.h"
#include "prune/steps.h"

namespace elek {
namespace {

const std::string kAnother = "; was it cut from another network?";

/// The numbers of the history come from a file: checks that they are a cut of `channels` channels.
GroupCut group_cut(const Cut& cut, const std::string& where) {
  const auto wrong = [&](const std::string& what) {
    throw InputError(where + ": history: cut of '" + cut.name + "': " + what + "; the file was changed");
  };
  if (std::ssize(cut.kept) != cut.before - cut.removed || cut.kept.empty()) {
    wrong("expected " + std::to_string(cut.before - cut.removed) + " kept channels, found " + std::to_string(cut.kept.size()));
  }
  for (size_t i = 0; i < cut.kept.size(); ++i) {
    const int64_t c = cut.kept[i];
    if (!(c >= 0 && c < cut.before && (i == 0 || cut.kept[i - 1] < c))) {
      wrong("kept[" + std::to_string(i) + "] = " + std::to_string(c) + ", expected strictly increasing below " +
            std::to_string(cut.before));
    }
  }
  const bool scored = std::ssize(cut.scores) == cut.before;
  return {cut.name, cut.before, cut.kept, scored ? cut.scores : std::vector<double>()};
}

PrunePlan channel_plan(const HistoryEntry& entry, const std::string& where) {
  PrunePlan plan;
  plan.criterion = entry.criterion;
  plan.target = entry.target;
  for (const Cut& cut : entry.cuts) plan.groups.push_back(group_cut(cut, where));
  return plan;
}

/// The masks of a weight cut are the zeros that it left. A repair keeps them.
PrunePlan weight_plan(const HistoryEntry& entry, const Model& cut, const std::string& where) {
  PrunePlan plan;
  plan.criterion = entry.criterion;
  plan.target = entry.target;
  for (const Cut& layer : entry.cuts) {
    const auto found = cut.parameters.find(layer.name + ".weight");
    if (found == cut.parameters.end()) throw InputError(where + ": history: no weights of '" + layer.name + "'" + kAnother);
    WeightCut mask{layer.name, {}, 0};
    for (const float weight : found->second->f32()) mask.keep.push_back(weight != 0.0F ? 1 : 0);
    mask.removed = std::count(mask.keep.begin(), mask.keep.end(), uint8_t{0});
    if (mask.removed < layer.removed) {
      throw InputError(where + ": history: '" + layer.name + "' lost " + std::to_string(layer.removed) + " weights, but only " +
                       std::to_string(mask.removed) + " are zero; the weights were changed after the cut");
    }
    if (mask.removed == std::ssize(mask.keep)) throw InputError(where + ": every weight of '" + layer.name + "' is zero");
    plan.weights.push_back(std::move(mask));
  }
  return plan;
}

/// Reports misfits as InputError: resolve() treats them as defects of the program, but here the file is wrong.
void check_fits(const PrunePlan& plan, const Model& model, const std::string& where) {
  const std::vector<Group> groups = find_groups(model.graph);
  for (const GroupCut& cut : plan.groups) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == cut.group; });
    const bool there = group != groups.end() && group->prunable;
    if (!there || group->channels != cut.channels) {
      throw InputError(where + ": history: cuts group '" + cut.group + "' of " + std::to_string(cut.channels) +
                       " channels; the model to cut has " +
                       (there ? std::to_string(group->channels) + " channels in this group" : "no such group") + kAnother);
    }
  }
  for (const WeightCut& cut : plan.weights) {
    const auto found = model.parameters.find(cut.node + ".weight");
    if (found == model.parameters.end() || found->second->shape().elements() != std::ssize(cut.keep)) {
      throw InputError(where + ": history: cuts " + std::to_string(cut.keep.size()) + " weights of '" + cut.node +
                       "'; the model to cut has no such weights" + kAnother);
    }
  }
}

uint64_t graph_hash(const Graph& graph) {
  Model bare;
  bare.graph = graph;
  return hash(bare);
}

}  // namespace

PrunePlan replay_plan(const Model& cut, const Model& model, const std::string& where, MemoryResource& resource) {
  PrunePlan plan;
  bool channels = false;
  bool weights = false;
  for (const HistoryEntry& entry : cut.history) {
    if (entry.cuts.empty()) continue;
    if (weights || (channels && entry.action != "prune channels")) {
      throw InputError(
          where +
          ": was cut more than once, and weights were cut; the masks of such cuts are not stored; replay a file whose " +
          "cuts are all of channels, or a single cut of weights");
    }
    if (entry.action == "prune channels") {
      const PrunePlan next = channel_plan(entry, where);
      for (const GroupCut& group : next.groups) {
        const auto before =
            std::find_if(plan.groups.begin(), plan.groups.end(), [&](const GroupCut& g) { return g.group == group.group; });
        if (before != plan.groups.end() && std::ssize(before->keep) != group.channels) {
          throw InputError(where + ": history: the cuts of '" + group.group + "' do not fit together; the file was changed");
        }
      }
      plan = compose(plan, next);
      channels = true;
    } else {
      plan = weight_plan(entry, cut, where);
      weights = true;
    }
  }
  if (plan.removes_nothing()) throw InputError(where + ": its history has no cut to replay; name a network that elek cut");
  check_fits(plan, model, where);
  uint64_t becomes = 0;
  try {
    becomes = graph_hash(apply(model, plan, resource).graph);
  } catch (const ContractError& error) {  // an impossible plan: here it came from a file
    throw InputError(where + ": history: " + error.what() + kAnother);
  }
  if (becomes != graph_hash(cut.graph)) throw InputError(where + ": the same cut of the model gives another graph" + kAnother);
  return plan;
}

}  // namespace elek
