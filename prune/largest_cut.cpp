// SPDX-License-Identifier: Apache-2.0
#include "prune/largest_cut.h"

#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/early_checks.h"
#include "prune/phase.h"

namespace elek {
namespace {

Judged judged(const Measured& measured) { return {{measured.hits.begin(), measured.hits.end()}, {}}; }

/// Whether the target can be meant at all: every group keeps a channel, however little is wished.
bool is_reachable(const CutOptions& options, const Model& dense) {
  if (options.weights) return true;  // every share below 1 is
  try {
    check_target(find_groups(dense.graph), dense.graph, options.channel_target());
  } catch (const UsageError&) {
    return false;
  }
  return true;
}

double share_left(const CutOptions& options, const Model& dense, const Model& cut) {
  return options.weights
             ? static_cast<double>(nonzero_parameter_count(cut)) / static_cast<double>(nonzero_parameter_count(dense))
             : static_cast<double>(macs(cut.graph)) / static_cast<double>(macs(dense.graph));
}

TriedCut try_cut(const Model& dense, const Measured& measured, const Evidence& evidence, const CutRun& run, double removed) {
  throw_if_interrupted();
  TriedCut tried;
  tried.removed = removed;
  const CutOptions options = removing(run.options, dense, removed);
  const CutRun now{options, run.calibration, run.evaluation, run.observer, run.ms_an_image};
  tried.reachable = is_reachable(options, dense);
  if (!tried.reachable) return tried;
  const PrunePlan plan = in_phase(run.observer, CutPhase::kScoring, [&] { return make_plan(dense, evidence, options); });
  if (plan.removes_nothing()) return tried;
  const Applied applied = apply_checked(dense, plan, now);
  tried.left = share_left(options, dense, applied.model);
  const bool repairs = options.repair != Repair::kNone;
  const Model made = repairs ? repaired(dense, applied.model, plan, options.repair, now).model : applied.model;
  tried.lost = paired_difference(judged(measured), judged(measure(made, now, CutWork::kRepaired)));
  return tried;
}

}  // namespace

CutOptions removing(const CutOptions& options, const Model& dense, double removed) {
  CutOptions made = options;
  if (options.weights) {
    made.sparsity.sparsity = removed;
  } else {
    made.channels.share = 0;
    made.channels.budget = Budget{BudgetUnit::kMacs, (1 - removed) * static_cast<double>(macs(dense.graph))};
  }
  return made;
}

LargestCut find_largest_cut(const Model& dense, const Measured& measured, const Evidence& evidence, const CutRun& run,
                            double most_lost, int tries, const std::function<void(const TriedCut&)>& tried) {
  if (!(most_lost >= 0)) throw ContractError("a largest cut may lose at least 0 of the accuracy");
  LargestCut found;
  double allowed = 0, refused = 1;
  for (int t = 0; t < tries; ++t) {
    const double middle = (allowed + refused) / 2;
    TriedCut cut = try_cut(dense, measured, evidence, run, middle);
    cut.is_allowed = cut.reachable && cut.lost.value <= most_lost;
    (cut.is_allowed ? allowed : refused) = middle;
    if (cut.is_allowed && cut.left < 1) found.best = found.tried.size();
    found.tried.push_back(cut);
    tried(cut);
  }
  return found;
}

}  // namespace elek
