// SPDX-License-Identifier: Apache-2.0
// Each step builds its sessions, works and destroys them, so the next step can use their memory.
// Tests: tests/prune/recipe_test.cpp
#include "prune/recipe_steps.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "core/error.h"
#include "engine/estimate.h"
#include "prune/early_checks.h"
#include "prune/fit_budget.h"
#include "prune/phase.h"
#include "prune/repair.h"
#include "prune/score.h"
#include "prune/select.h"
#include "prune/steps.h"

namespace elek {
namespace {

MemoryResource& memory_of(const CutRun& run) { return run.options.memory != nullptr ? *run.options.memory : host_resource(); }

/// Bytes of `sessions` sessions of the whole network with a batch of values each, and of its parameters.
size_t sessions_bytes(const Model& model, size_t sessions, const SessionOptions& options) {
  const SessionEstimate session = estimate_memory(model, options);
  const SessionMemory& m = session.memory;
  const size_t each = m.weights_bytes + m.arena_bytes + m.staging_bytes + session.packing_bytes + size_t{kTrailBatchBytes};
  return sessions * each + parameter_bytes(model);
}

/// Bytes of activations that a pass over layers may keep: what the caller allows. Under a memory limit at most what is left
/// beside the moments, the parameters and this many sessions of the whole network with a batch of values each (sessions of a
/// part need less).
size_t checkpoint_bytes(const Model& model, size_t moments_bytes, size_t sessions, const CutRun& run) {
  const SessionOptions& options = run.options.session;
  const size_t allowed = run.options.keep_activations;
  if (allowed == 0 || !starts_from_values(options.device)) return 0;
  const std::optional<size_t> left = run.options.memory_left ? run.options.memory_left() : std::nullopt;
  if (!left) return allowed;
  const size_t other = moments_bytes + sessions_bytes(model, sessions, options);
  return *left > other ? std::min(allowed, *left - other) : 0;
}

/// OutOfMemory if the moments alone do not fit. Otherwise it would come in the middle of the work, after minutes or hours.
void check_moments(const Model& model, size_t moments_bytes, const std::string& what, const CutOptions& options) {
  const std::optional<size_t> left = options.memory_left ? options.memory_left() : std::nullopt;
  if (!left || moments_bytes <= *left) return;
  SessionOptions one = options.session;
  one.batch = 1;
  const size_t enough = moments_bytes + sessions_bytes(model, 2, one);
  constexpr size_t kMega = 1'000'000;
  throw OutOfMemory(what + " needs " + std::to_string(moments_bytes / kMega + 1) +
                        " MB for the moments of a layer alone, about " + std::to_string(enough / kMega + 1) +
                        " MB with all else, and " + std::to_string(*left / kMega) + " MB are left",
                    {.requested_bytes = moments_bytes});
}

/// The largest budget that could be asked for.
size_t most_activations(const CutRun& run) {
  return starts_from_values(run.options.session.device) ? std::numeric_limits<size_t>::max() : 0;
}

/// Milliseconds for this many passes over the calibration images.
double ms_of(double dense_passes, const CutRun& run) {
  return dense_passes * static_cast<double>(run.calibration.samples()) * run.ms_an_image;
}

}  // namespace

Measured measure(const Model& model, const CutRun& run, CutWork work) {
  ELEK_CHECK(run.evaluation != nullptr, "measure: no evaluation images were given");
  return in_phase(run.observer, CutPhase::kInference, [&] {
    Session session(model, run.options.session);
    const Progress progress = run.observer.start(work);
    Measured measured;
    const auto start = std::chrono::steady_clock::now();
    measured.accuracy = evaluate(session, *run.evaluation, progress, &measured.hits);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    measured.arena_bytes = session.memory().arena_bytes;
    measured.ms_an_image = took.count() / static_cast<double>(std::max<int64_t>(1, measured.accuracy.samples));
    return measured;
  });
}

Probes probes_of(const CutOptions& options, const Graph& graph) {
  if (options.replay) return {};
  return options.weights ? probes_for_weights(graph) : probes_for(*options.criterion, graph, options.tap);
}

Evidence collect(const Model& model, const Probes& probes, const CutRun& run) {
  return in_phase(run.observer, CutPhase::kCollection, [&] {
    SessionOptions options = run.options.session;
    options.probes = probes;
    Session session(model, options);
    const Progress progress = run.observer.start(CutWork::kCollect);
    for_each_batch(session, run.calibration, 0, progress);
    Evidence evidence(session.statistics());
    evidence.statistics_bytes = session.memory().statistics_bytes;
    evidence.statistics.data = run.calibration.description();
    return evidence;
  });
}

namespace {

/// How a criterion measures in this cut; nothing kept between passes.
MeasureOptions measure_options(const CutOptions& options) {
  MeasureOptions how;
  how.session = options.session;
  how.arena_bytes = options.distill.arena_bytes;
  how.use_labels = options.use_labels;
  return how;
}

/// OutOfMemory if not even the gradients of one image fit.
void check_gradients(const Forecast& least, const CutOptions& options) {
  const std::optional<size_t> left = options.memory_left ? options.memory_left() : std::nullopt;
  if (!left || least.gradient_bytes <= *left) return;
  constexpr size_t kMega = 1'000'000;
  throw OutOfMemory("the metric " + least.criterion + " needs " + std::to_string(least.gradient_bytes / kMega + 1) +
                        " MB for parameters, gradients and the values of one image, and " + std::to_string(*left / kMega) +
                        " MB are left",
                    {.requested_bytes = least.gradient_bytes});
}

/// What the criterion holds if it gets as little memory as it can work with.
Forecast least_memory(const Model& model, const CutOptions& options) {
  MeasureOptions least = measure_options(options);
  least.arena_bytes = 0;
  return options.criterion->forecast(model.graph, find_groups(model.graph), 1, least);
}

}  // namespace

void check_memory(const Model& model, const CutOptions& options) {
  if (!options.measures_costs()) return;
  const Forecast least = least_memory(model, options);
  check_moments(model, least.moments_bytes, "the metric " + least.criterion, options);
  check_gradients(least, options);
}

Scores measure_costs(const Model& model, const Criterion& criterion, const CutRun& run) {
  CutOptions options = run.options;
  options.criterion = &criterion;
  const std::vector<Group> groups = find_groups(model.graph);
  MeasureOptions how = measure_options(options);
  const auto forecast = [&] { return criterion.forecast(model.graph, groups, run.calibration.samples(), how); };
  check_memory(model, options);
  if (const std::optional<size_t> left = options.memory_left ? options.memory_left() : std::nullopt) {
    const size_t least = least_memory(model, options).gradient_bytes;
    how.arena_bytes = std::min(how.arena_bytes, *left > least ? *left - least : 0);
  }
  const size_t moments_bytes = forecast().moments_bytes;
  how.checkpoint_bytes = most_activations(run);
  const Forecast all_kept = forecast();
  how.checkpoint_bytes = checkpoint_bytes(model, moments_bytes, 2, run);
  Forecast work = forecast();
  work.ms = ms_of(work.dense_passes, run);
  work.most_kept_bytes = all_kept.kept.bytes;
  work.least_dense_passes = all_kept.dense_passes;
  how.checkpoint_bytes = work.kept.bytes;
  run.observer.forecast(work);
  return in_phase(run.observer, CutPhase::kCollection, [&] {
    const Progress progress = run.observer.start(CutWork::kCosts);
    return criterion.measure(model, groups, run.calibration, how, progress);
  });
}

Evidence gather(const Model& model, const CutRun& run) {
  if (run.options.measures_costs()) {
    Evidence evidence;
    evidence.costs[run.options.criterion->name()] = measure_costs(model, *run.options.criterion, run);
    return evidence;
  }
  const Probes probes = probes_of(run.options, model.graph);
  return probes.empty() ? Evidence() : collect(model, probes, run);
}

Applied apply_checked(const Model& dense, const PrunePlan& plan, const CutRun& run) {
  return in_phase(run.observer, CutPhase::kPruning, [&] {
    Applied applied{apply(dense, plan, memory_of(run)), {}};
    const Model masks = masked(dense, plan, memory_of(run));
    applied.equivalence = check_equivalence(applied.model, masks, run.calibration, run.options.session);
    return applied;
  });
}

Forecast forecast_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, const CutRun& run) {
  const auto planned = [&](size_t bytes) {
    const RefitOptions how{kRidge, bytes, run.options.refit_target};
    return plan_refit(dense, pruned, plan, run.options.session, run.calibration.samples(), how);
  };
  const RefitPlan none_kept = planned(0);
  check_moments(dense, none_kept.moments_bytes, "the repair refit", run.options);
  RefitPlan work = planned(checkpoint_bytes(dense, none_kept.moments_bytes, none_kept.sessions, run));
  const RefitPlan all_kept = planned(most_activations(run));
  return {"",
          std::ssize(work.layers),
          work.moments_bytes,
          work.moments_layer,
          std::move(work.kept),
          work.dense_passes,
          ms_of(work.dense_passes, run),
          all_kept.kept.bytes,
          all_kept.dense_passes,
          work.block_targets};
}

Repaired repaired(const Model& dense, const Model& pruned, const PrunePlan& plan, Repair repair, const CutRun& run) {
  return in_phase(run.observer, CutPhase::kRepair, [&] {
    Repaired made{pruned, {}};
    if (refits(repair)) {
      const RefitOptions how{kRidge, forecast_refit(dense, pruned, plan, run).kept.bytes, run.options.refit_target};
      const Progress progress = run.observer.start(CutWork::kRefit);
      made.model = refit(dense, pruned, plan, run.calibration, run.options.session, progress, how);
    }
    if (reestimates(repair)) {
      const Progress progress = run.observer.start(CutWork::kReestimate);
      made.model = reestimate_batch_norm(made.model, run.calibration, 0, run.options.session, progress);
    }
    if (distils(repair)) {
      DistillOptions how = run.options.distill;
      how.seed = run.options.seed;
      if (repair == Repair::kAuto) how.seconds = run.options.auto_seconds;
      const Progress progress = run.observer.start(CutWork::kDistill);
      try {
        made.model = distill(dense, made.model, run.calibration, run.options.session, how, progress, made.distilled.emplace());
      } catch (const OutOfMemory&) {  // kAuto does what fits; the refitted network is kept
        if (repair != Repair::kAuto) throw;
        made.distilled = DistillReport{.end = DistillReport::End::kNoMemory};
      }
      run.observer.distilled(*made.distilled);
    }
    return made;
  });
}

PrunePlan make_plan(const Model& model, const Evidence& evidence, const CutOptions& options) {
  if (options.weights) return select_weights(model, evidence.statistics, options.sparsity);
  const std::vector<Group> groups = find_groups(model.graph);
  const Scores scores = score_channels(model, groups, *options.criterion, evidence, options.seed);
  const ChannelTarget target = options.channel_target();
  MemoryResource& memory = options.memory != nullptr ? *options.memory : host_resource();
  PrunePlan plan = target.budget && target.budget->exact ? fit_budget(model, groups, scores, target, memory)
                                                         : select_channels(groups, scores, model.graph, target);
  plan.criterion = options.criterion->name() + (options.use_labels ? " labels=given" : "");
  return plan;
}

namespace {

/// The options for round `step`, for the network that `so_far` leaves.
CutOptions options_of_step(const Model& dense, const PrunePlan& so_far, const CutOptions& options, int step) {
  CutOptions now = options;
  if (options.weights) {
    now.sparsity = step_target(options.sparsity, step, options.steps);
  } else {
    now.channels = step_target(dense.graph, so_far, options.channel_target(), step, options.steps);
    now.scope = now.channels.scope;
  }
  return now;
}

}  // namespace

PrunePlan make_plan_in_steps(const Model& dense, const Evidence& evidence, const CutRun& run) {
  const CutOptions& options = run.options;
  PrunePlan all;
  Model now = dense;
  Evidence seen = evidence;
  for (int step = 1; step <= options.steps; ++step) {
    const CutOptions part = options_of_step(dense, all, options, step);
    all = compose(all, in_phase(run.observer, CutPhase::kScoring, [&] { return make_plan(now, seen, part); }));
    run.observer.chosen(step, options.steps, all);
    if (step == options.steps || all.removes_nothing()) continue;
    now = apply_checked(dense, all, run).model;
    // Between rounds the refit is enough: what follows cuts again.
    const Repair between = distils(options.repair) ? Repair::kRefit : options.repair;
    if (between != Repair::kNone) now = repaired(dense, now, all, between, run).model;
    if (options.measures_costs() || !probes_of(options, now.graph).empty()) seen = gather(now, run);
  }
  if (!options.weights) all.target = target_text(options.channel_target());
  all.target += " steps=" + std::to_string(options.steps);
  return all;
}

}  // namespace elek
