// SPDX-License-Identifier: Apache-2.0
// The texts for a cut: names of phases and progress bars, and one line for each fact that the recipe reports.
#include <memory>

#include "cli/cut.h"
#include "cli/distillation_text.h"
#include "core/error.h"

namespace elek::cli {
namespace {

std::string name_of(CutPhase phase) {
  switch (phase) {
    case CutPhase::kInference:
      return "inference";
    case CutPhase::kCollection:
      return "collection";
    case CutPhase::kScoring:
      return "scoring";
    case CutPhase::kPruning:
      return "pruning";
    case CutPhase::kRepair:
      return "repair";
  }
  throw ContractError("a phase of a cut without a name");
}

std::string name_of(CutWork work) {
  switch (work) {
    case CutWork::kDense:
      return "dense";
    case CutWork::kCollect:
      return "collect";
    case CutWork::kCosts:
      return "costs";
    case CutWork::kJustPruned:
      return "just pruned";
    case CutWork::kRefit:
      return "refit";
    case CutWork::kReestimate:
      return "re-estimate";
    case CutWork::kDistill:
      return "distill";
    case CutWork::kRepaired:
      return "repaired";
  }
  throw ContractError("a piece of work without a name");
}

/// The time of the work, the memory of kept activations, and what more of that memory would save.
std::string work_text(const Forecast& work) {
  std::string text = "as much work as " + decimal(work.dense_passes, 1) + " dense passes over the calibration images, about " +
                     duration(std::chrono::duration<double>(work.ms / 1e3)) + "; " +
                     (work.kept.bytes > 0 ? readable_bytes(work.kept.bytes) + " of activations kept" : "no activations kept");
  if (work.kept.recomputed > 0 && work.most_kept_bytes > work.kept.bytes) {
    text += " (with --keep-activations " + std::to_string((work.most_kept_bytes + 999'999) / 1'000'000) +
            "MB: " + decimal(work.least_dense_passes, 1) + " passes)";
  }
  return text;
}

/// What has been removed so far.
std::string part_text(const PrunePlan& plan) {
  int64_t gone = 0;
  for (const GroupCut& cut : plan.groups) gone += cut.channels - static_cast<int64_t>(cut.keep.size());
  for (const WeightCut& cut : plan.weights) gone += cut.removed;
  return with_commas(gone) + (plan.weights.empty() ? " channels" : " weights") + " removed";
}

}  // namespace

void CutNotes::begin(CutPhase phase) { context_.begin_phase(name_of(phase)); }
void CutNotes::end(CutPhase /*phase*/) { context_.end_phase(); }

Progress CutNotes::start(CutWork work) {
  const auto bar = std::make_shared<ProgressBar>(context_.output(), name_of(work));
  return [bar](int64_t done, int64_t total) { bar->update(done, total); };
}

void CutNotes::forecast(const Forecast& work) {
  if (work.gradient_bytes > 0) {
    context_.output().note(
        "choosing by the metric " + work.criterion + ": gradients on the CPU, " + with_commas(work.gradient_images) +
        (work.gradient_images == 1 ? " image" : " images") + " at a time; " + readable_bytes(work.gradient_bytes) +
        " of parameters, gradients, values and images; as much work as " + decimal(work.dense_passes, 1) +
        " dense passes over the calibration images, about " + duration(std::chrono::duration<double>(work.ms / 1e3)));
    return;
  }
  const std::string layers =
      std::to_string(work.layers) + " layers, one after the other" +
      (work.block_targets > 0 ? ", " + std::to_string(work.block_targets) + " of them with the block target" : "") +
      "; up to " + readable_bytes(work.moments_bytes) + " of moments";
  context_.output().note(work.criterion.empty()
                             ? "refit: " + layers + " (" + work.moments_layer + ") and " + work_text(work)
                             : "choosing by the metric " + work.criterion + ": " + layers + " and " + work_text(work));
}

void CutNotes::chosen(int step, int steps, const PrunePlan& so_far) {
  context_.output().note("round " + std::to_string(step) + " of " + std::to_string(steps) + ": " + part_text(so_far));
}

void CutNotes::distilled(const DistillReport& report) { context_.output().note(distillation_text(report)); }

void CutNotes::checked(const Equivalence& equivalence) {
  context_.output().note("check: the cut network equals the masked network within " + scientific(equivalence.difference) +
                         " (bound " + scientific(equivalence.bound) + ") on " + std::to_string(equivalence.samples) +
                         " images");
}

}  // namespace elek::cli
