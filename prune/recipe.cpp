// SPDX-License-Identifier: Apache-2.0
// The recipe from the evidence to the report, and the history entries it writes. Tests: tests/prune/recipe_test.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "core/runtime.h"
#include "elek/prune.h"
#include "graph/integer_values.h"
#include "prune/phase.h"
#include "prune/recipe_steps.h"
#include "prune/replay.h"

namespace elek {
namespace {

/// The plan, and the hash of the network whose choice it repeats.
struct Choice {
  PrunePlan plan;
  std::string replayed;
};

Choice choose(const Model& dense, const Evidence& evidence, const CutRun& run) {
  const CutOptions& options = run.options;
  if (!options.replay && options.steps > 1) return {make_plan_in_steps(dense, evidence, run), ""};
  return in_phase(run.observer, CutPhase::kScoring, [&]() -> Choice {
    if (!options.replay) return {make_plan(dense, evidence, options), ""};
    MemoryResource& memory = options.memory != nullptr ? *options.memory : host_resource();
    const Model repeated = options.replay();
    return {replay_plan(repeated, dense, options.replay_name, memory), to_hex(hash(repeated))};
  });
}

Cut history_cut(const GroupCut& cut) {
  return {cut.group, cut.channels, cut.keep, cut.channels - static_cast<int64_t>(cut.keep.size()), cut.scores};
}

/// Records what the choice was based on: sums, the images themselves, or nothing.
void add_calibration(HistoryEntry& entry, const Statistics& watched, const CutRun& run) {
  if (watched.samples > 0) {
    entry.calibration = watched.data;
    entry.calibration_samples = watched.samples;
    entry.tap = watched.tap == Tap::kRelu ? "relu" : "conv";
    entry.kernels = watched.kernels;
  } else if (run.options.measures_costs()) {
    entry.calibration = run.calibration.description();
    entry.calibration_samples = run.calibration.samples();
  }
}

/// What was done: of a distillation that gained nothing, only the refit is left. `repair`: the one that was kept.
std::string repair_text(Repair repair, RefitTarget target, const std::optional<DistillReport>& distilled) {
  if (!refits(repair)) return name_of(repair);
  const std::string done = distilled ? (distilled->improved ? "refit+distill" : "refit") : name_of(repair);
  return target == RefitTarget::kLayer ? done : done + " target=" + name_of(target);
}

HistoryEntry history_entry(const Model& dense, const Evidence& evidence, const Choice& choice, Repair repair,
                           const CutRun& run) {
  const PrunePlan& plan = choice.plan;
  HistoryEntry entry;
  entry.action = plan.weights.empty() ? "prune channels" : "prune weights";
  entry.replayed = choice.replayed;
  entry.criterion = plan.criterion;
  entry.target = plan.target;
  entry.source_hash = to_hex(hash(dense));
  add_calibration(entry, evidence.statistics, run);
  if (repair != Repair::kNone) {
    entry.repair_data = run.calibration.description();
    entry.repair_samples = run.calibration.samples();
  }
  entry.seed = run.options.seed;
  entry.version = ELEK_VERSION;
  for (const GroupCut& group : plan.groups) entry.cuts.push_back(history_cut(group));
  for (const WeightCut& layer : plan.weights) {
    entry.cuts.push_back({layer.node, static_cast<int64_t>(layer.keep.size()), {}, layer.removed, {}});
  }
  return entry;
}

std::optional<Evaluation> evaluation_of(const CutReport& report, const CutRun& run) {
  if (!report.dense || !report.pruned) return std::nullopt;
  Evaluation made;
  made.data = run.evaluation->description();
  made.hash = run.options.evaluation_hash;
  made.samples = report.dense->accuracy.samples;
  made.dense = report.dense->accuracy.top1;
  made.pruned = report.pruned->accuracy.top1;
  if (report.repaired) made.repaired = report.repaired->accuracy.top1;
  return made;
}

/// Whether all weights that the plan removes are zero already.
bool changes_nothing(const Model& dense, const PrunePlan& plan) {
  if (!plan.groups.empty()) return false;
  return std::all_of(plan.weights.begin(), plan.weights.end(), [&](const WeightCut& cut) {
    const std::span<const float> weights = dense.parameter(cut.node + ".weight").f32();
    for (size_t i = 0; i < weights.size(); ++i) {
      if (cut.keep[i] == 0 && weights[i] != 0.0F) return false;
    }
    return true;
  });
}

/// Whether `now` is worse than `before` on the same images by more than two standard errors: McNemar's test on the images that
/// only one of them gets right.
bool is_worse(const Measured& now, const Measured& before) {
  double lost = 0, won = 0;
  for (size_t i = 0; i < now.hits.size(); ++i) {
    lost += before.hits[i] > now.hits[i] ? 1 : 0;
    won += now.hits[i] > before.hits[i] ? 1 : 0;
  }
  return lost - won > 2 * std::sqrt(lost + won);
}

std::string top1_text(const Measured& measured) {
  std::array<char, 16> text{};
  (void)std::snprintf(text.data(), text.size(), "%.2f %%", 100 * measured.accuracy.top1);
  return text.data();
}

/// Repairs the report's network and measures it. A repair that makes it worse is told and not kept.
/// Returns the repair that the report's network then has.
Repair repair_and_judge(const Model& dense, const PrunePlan& plan, const CutRun& run, CutReport& report) {
  const Repair repair = run.options.repair;
  if (refits(repair)) run.observer.forecast(forecast_refit(dense, report.model, plan, run));
  Repaired made = repaired(dense, report.model, plan, repair, run);
  if (run.evaluation != nullptr) {
    Measured now = measure(made.model, run, CutWork::kRepaired);
    if (is_worse(now, *report.pruned)) {
      warn("the repair " + name_of(repair) + " makes the network worse on " + run.evaluation->description() + ": top-1 " +
           top1_text(*report.pruned) + " just pruned, " + top1_text(now) +
           " repaired; the network just pruned is kept. Are the calibration images like the evaluation images, and enough?");
      return Repair::kNone;
    }
    report.repaired = std::move(now);
  }
  report.model = std::move(made.model);
  report.distilled = made.distilled;
  return repair;
}

}  // namespace

ChannelTarget CutOptions::channel_target() const {
  ChannelTarget target = channels;
  target.scope = criterion->scope_for(scope);
  return target;
}

void CutObserver::begin(CutPhase /*phase*/) {}
void CutObserver::end(CutPhase /*phase*/) {}
Progress CutObserver::start(CutWork /*work*/) { return {}; }
void CutObserver::forecast(const Forecast& /*forecast*/) {}
void CutObserver::chosen(int /*step*/, int /*steps*/, const PrunePlan& /*so_far*/) {}
void CutObserver::distilled(const DistillReport& /*report*/) {}
void CutObserver::checked(const Equivalence& /*equivalence*/) {}

RemovesNothing::RemovesNothing(const std::string& target)
    : UsageError("the target " + target + " removes nothing from the network; choose a larger share"), target_(target) {}

CutReport cut_by(const Model& dense, const Evidence& evidence, const std::optional<Measured>& measured, const CutRun& run) {
  const Choice choice = choose(dense, evidence, run);
  const PrunePlan& plan = choice.plan;
  if (plan.removes_nothing() || changes_nothing(dense, plan)) throw RemovesNothing(plan.target);
  CutReport report;
  report.dense = measured;
  Applied applied = apply_checked(dense, plan, run);
  report.equivalence = applied.equivalence;
  report.model = std::move(applied.model);
  run.observer.checked(report.equivalence);
  if (run.evaluation != nullptr) report.pruned = measure(report.model, run, CutWork::kJustPruned);
  Repair kept = Repair::kNone;
  if (run.options.repair != Repair::kNone) kept = repair_and_judge(dense, plan, run, report);
  HistoryEntry entry = history_entry(dense, evidence, choice, kept, run);
  entry.repair = report.repair = repair_text(kept, run.options.refit_target, report.distilled);
  entry.evaluation = evaluation_of(report, run);
  report.model.history.push_back(std::move(entry));
  report.plan = plan;
  report.replayed = choice.replayed;
  report.watched_samples = evidence.statistics.samples;
  report.statistics_bytes = evidence.statistics_bytes;
  return report;
}

CutReport cut(const Model& dense, BatchSource& calibrate, BatchSource* evaluate, const CutOptions& options,
              CutObserver& observer) {
  require_f32_weights(dense, "prune");
  CutRun run{options, calibrate, evaluate, observer};
  std::optional<Measured> measured;
  if (evaluate != nullptr) {
    measured = measure(dense, run, CutWork::kDense);
    run.ms_an_image = measured->ms_an_image;
  }
  return cut_by(dense, gather(dense, run), measured, run);
}

}  // namespace elek
