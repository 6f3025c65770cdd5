// SPDX-License-Identifier: Apache-2.0
// The recipe from the evidence to the report, and the history entries it writes. Tests: tests/prune/recipe_test.cpp
#include <utility>

#include "core/runtime.h"
#include "elek/prune.h"
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

HistoryEntry history_entry(const Model& dense, const Evidence& evidence, const Choice& choice, const CutRun& run) {
  const PrunePlan& plan = choice.plan;
  HistoryEntry entry;
  entry.action = plan.weights.empty() ? "prune channels" : "prune weights";
  entry.replayed = choice.replayed;
  entry.criterion = plan.criterion;
  entry.target = plan.target;
  entry.repair = name_of(run.options.repair);
  entry.source_hash = to_hex(hash(dense));
  add_calibration(entry, evidence.statistics, run);
  if (run.options.repair != Repair::kNone) {
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
  const Repair repair = run.options.repair;
  const Choice choice = choose(dense, evidence, run);
  const PrunePlan& plan = choice.plan;
  if (plan.removes_nothing()) throw RemovesNothing(plan.target);
  CutReport report;
  report.dense = measured;
  Applied applied = apply_checked(dense, plan, run);
  report.equivalence = applied.equivalence;
  report.model = std::move(applied.model);
  run.observer.checked(report.equivalence);
  if (run.evaluation != nullptr) report.pruned = measure(report.model, run, CutWork::kJustPruned);
  if (repair != Repair::kNone) {
    if (refits(repair)) run.observer.forecast(forecast_refit(dense, report.model, plan, run));
    Repaired mended = repaired(dense, report.model, plan, repair, run);
    report.model = std::move(mended.model);
    report.distilled = mended.distilled;
    if (run.evaluation != nullptr) report.repaired = measure(report.model, run, CutWork::kRepaired);
  }
  HistoryEntry entry = history_entry(dense, evidence, choice, run);
  if (report.distilled) entry.repair = report.distilled->improved ? "refit+distill" : "refit";
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
  CutRun run{options, calibrate, evaluate, observer};
  std::optional<Measured> measured;
  if (evaluate != nullptr) {
    measured = measure(dense, run, CutWork::kDense);
    run.ms_an_image = measured->ms_an_image;
  }
  return cut_by(dense, gather(dense, run), measured, run);
}

}  // namespace elek
