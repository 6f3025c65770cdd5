// SPDX-License-Identifier: Apache-2.0
// The single steps of a cut, for callers that need another order than cut() (elek/prune.h): several cuts from one pass over the
// images, a plan without a cut, sums from a file. Each step reports its phase and progress to the run's observer.
// Tests: tests/prune/recipe_test.cpp
#pragma once

#include <optional>
#include <string>

#include "elek/prune.h"
#include "prune/refit.h"

namespace elek {

/// What the steps share. All of it must outlive the run.
struct CutRun {
  const CutOptions& options;
  BatchSource& calibration;
  BatchSource* evaluation = nullptr;  // null: nothing is measured
  CutObserver& observer;
  double ms_an_image = 0;  // of the dense network, if measured: forecasts then say how long they take
};

/// Accuracy on the evaluation images (phase inference); ContractError without any.
[[nodiscard]] Measured measure(const Model& model, const CutRun& run, CutWork work);

/// The probes that the options need; empty if they need no sums.
[[nodiscard]] Probes probes_of(const CutOptions& options, const Graph& graph);
/// Sums over the calibration images (phase collection); costs are left empty.
[[nodiscard]] Evidence collect(const Model& model, const Probes& probes, const CutRun& run);
/// The criterion's costs over the calibration images (phase collection), after a forecast.
[[nodiscard]] Scores measure_costs(const Model& model, const Criterion& criterion, const CutRun& run);
/// All that the options' criterion needs: costs, sums or nothing.
[[nodiscard]] Evidence gather(const Model& model, const CutRun& run);

/// The plan in one round, by the options' criterion and target. Changes nothing, reports nothing.
[[nodiscard]] PrunePlan make_plan(const Model& model, const Evidence& evidence, const CutOptions& options);
/// The plan in the number of rounds that the options ask for (phase scoring; between rounds pruning, repair and collection).
/// Each round scores the dense network cut by all rounds so far, checked, and repaired as the options say. The first round uses
/// `evidence`.
[[nodiscard]] PrunePlan make_plan_in_steps(const Model& dense, const Evidence& evidence, const CutRun& run);

/// The compact network, checked on a batch of calibration images against the masked dense one (phase pruning).
struct Applied {
  Model model;
  Equivalence equivalence;
};
[[nodiscard]] Applied apply_checked(const Model& dense, const PrunePlan& plan, const CutRun& run);

/// The memory and time of a refit of `pruned`, within the memory that is left.
[[nodiscard]] Forecast forecast_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, const CutRun& run);
/// The cut network repaired from the dense one over the calibration images (phase repair).
struct Repaired {
  Model model;
  std::optional<DistillReport> distilled;
};
[[nodiscard]] Repaired repaired(const Model& dense, const Model& pruned, const PrunePlan& plan, Repair repair,
                                const CutRun& run);

/// All steps after the evidence: plan, apply, check, repair, measure. `measured`: the dense network's accuracy, if known.
[[nodiscard]] CutReport cut_by(const Model& dense, const Evidence& evidence, const std::optional<Measured>& measured,
                               const CutRun& run);

}  // namespace elek
