// SPDX-License-Identifier: Apache-2.0
#include "cli/choose.h"

#include "core/runtime.h"
#include "models/model_file.h"
#include "prune/replay.h"
#include "prune/steps.h"

namespace elek::cli {
namespace {

/// How much is gone so far.
std::string part_text(const PrunePlan& plan) {
  int64_t gone = 0;
  for (const GroupCut& cut : plan.groups) gone += cut.channels - static_cast<int64_t>(cut.keep.size());
  for (const WeightCut& cut : plan.weights) gone += cut.removed;
  return with_commas(gone) + (plan.weights.empty() ? " channels" : " weights") + " are gone";
}

/// The spec of one round, on the network that `so_far` leaves.
CutSpec spec_of_step(const Dense& dense, const PrunePlan& so_far, const CutSpec& spec, int step) {
  CutSpec now = spec;
  if (spec.weights) {
    now.sparsity = step_target(spec.sparsity, step, spec.steps);
  } else {
    ChannelTarget target = spec.channels;
    if (spec.criterion == Criterion::kRefit && target.scope == Scope::kGlobal) target.scope = Scope::kMacs;
    now.channels = step_target(dense.model.graph, so_far, target, step, spec.steps);
  }
  return now;
}

/// The dense network cut by all rounds so far and repaired.
Model left_by(const Dense& dense, const PrunePlan& so_far, const CutSpec& spec, const Watch& watch, Context& context) {
  Applied applied = context.phase("pruning", [&] { return apply_checked(dense, so_far, context); });
  if (spec.repair == Repair::kNone) return std::move(applied.model);
  return context.phase("repair", [&] { return repaired(dense, applied.model, so_far, spec.repair, watch, context); });
}

PrunePlan in_rounds(const Dense& dense, const Collected& collected, const CutSpec& spec, const Watch& watch, Context& context) {
  PrunePlan all;
  Dense now = dense;
  Collected sums = collected;
  for (int step = 1; step <= spec.steps; ++step) {
    const CutSpec part = spec_of_step(dense, all, spec, step);
    all = compose(all, context.phase("scoring", [&] { return make_plan(now, sums.statistics, part, context.common().seed); }));
    context.output().note("round " + std::to_string(step) + " of " + std::to_string(spec.steps) + ": " + part_text(all));
    if (step == spec.steps || all.removes_nothing()) continue;
    now.model = left_by(dense, all, spec, watch, context);
    if (spec.criterion == Criterion::kRefit) add_refit_costs(now, context);
    if (const Probes probes = probes_of(spec, now.model.graph); !probes.empty()) sums = collect(now, probes, context);
  }
  if (!spec.weights) all.target = target_text(spec.channels);
  all.target += " steps=" + std::to_string(spec.steps);
  return all;
}

}  // namespace

Choice choose(const Dense& dense, const Collected& collected, const CutSpec& spec, const Watch& watch, Context& context) {
  if (!spec.replay.empty()) {
    return context.phase("scoring", [&] {
      const Model cut = load_model(spec.replay, context.memory());
      return Choice{replay_plan(cut, dense.model, spec.replay, context.memory()), to_hex(hash(cut))};
    });
  }
  if (spec.steps > 1) return {in_rounds(dense, collected, spec, watch, context), ""};
  const auto plan = [&] { return make_plan(dense, collected.statistics, spec, context.common().seed); };
  return {context.phase("scoring", plan), ""};
}

}  // namespace elek::cli
