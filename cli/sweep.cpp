// SPDX-License-Identifier: Apache-2.0
#include "cli/sweep.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "cli/cut_command.h"
#include "core/error.h"
#include "core/runtime.h"
#include "prune/early_checks.h"
#include "prune/score.h"
#include "prune/select.h"

namespace elek::cli {
namespace {

constexpr double kReestimateCost = 2;  // in passes: own moments need the whole batch at once and unfused batch norm
constexpr double kTrainingCost = 3;    // a step forward and backward, in passes of the cut network

Probes union_of_probes(const std::vector<const Criterion*>& criteria, const Graph& graph) {
  Probes all;
  std::set<std::string> norms;
  for (const Criterion* criterion : criteria) {
    const Probes probes = probes_for(*criterion, graph);
    for (const auto& [value, sums] : probes.values) all.values[value] |= sums;
    norms.insert(probes.tap_norms.begin(), probes.tap_norms.end());
  }
  all.tap_norms.assign(norms.begin(), norms.end());
  return all;
}

bool is_ignored(const Graph& graph, const Group& group, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return name == group.name ||
           std::any_of(group.values.begin(), group.values.end(), [&](ValueId v) { return graph.node(v).name == name; });
  });
}

/// The work of a cut, counted in images through the dense network, so that the progress bar moves evenly.
struct Work {
  double evaluation = 0;        // of one evaluation
  std::vector<double> repairs;  // one per result
  [[nodiscard]] double total() const {
    double sum = 0;
    for (const double repair : repairs) sum += repair + evaluation;
    return sum;
  }
};
/// One cut to make: a point's only cut, or one of its draws.
struct Job {
  size_t point = 0;
  PrunePlan plan;
  Work work;
};

/// Also the observer of its cuts: one bar and one phase for all of them.
class Sweeper final : public CutObserver {
 public:
  Sweeper(const SweepSpec& spec, Context& context) : spec_(spec), context_(context) {}
  Sweep run(const CutInput& input);
  [[nodiscard]] Progress start(CutWork work) override;

 private:
  void check(const Model& model, const CutInput& input);
  [[nodiscard]] Evidence gather_all();
  void plan_all(const Evidence& evidence);
  void plan_point(const SweepPoint& wanted, const Evidence& evidence);
  void measure_all();
  void measure_job(const Job& job, const std::string& name);
  void add(SweepResult& result, const Measured& measured, size_t draws) const;
  [[nodiscard]] Work work_of(const PrunePlan& plan);
  [[nodiscard]] CutRun cut_run() { return run_of(sweep_.dense, options_, *this); }

  const SweepSpec& spec_;
  Context& context_;
  CutOptions options_;  // of all cuts; a plan says what each cut removes
  Sweep sweep_;
  std::vector<Job> jobs_;
  std::unique_ptr<ProgressBar> bar_;
  Work now_;           // of the cut that is measured now
  size_t result_ = 0;  // index of the repair that is measured now
  double work_done_ = 0;
  double work_total_ = 0;
};

Work Sweeper::work_of(const PrunePlan& plan) {
  const Dense& dense = sweep_.dense;
  const Model model = apply(dense.model, plan, context_.memory());
  const double share = static_cast<double>(macs(model.graph)) / static_cast<double>(macs(dense.model.graph));
  const auto calibration = static_cast<double>(dense.calibration->samples());
  Work work{share * static_cast<double>(dense.measured.accuracy.samples), {}};
  for (const Repair repair : spec_.repairs) {
    double passes = reestimates(repair) ? kReestimateCost * share : 0;
    if (refits(repair)) passes += forecast_refit(dense.model, model, plan, cut_run()).dense_passes;
    if (distils(repair)) passes += std::max(options_.distill.passes, 10) * (1 + kTrainingCost * share);
    work.repairs.push_back(passes * calibration);
  }
  return work;
}

void Sweeper::plan_point(const SweepPoint& wanted, const Evidence& evidence) {
  CutOptions cut = options_;
  cut.criterion = wanted.criterion;
  cut.channels = spec_.target;
  cut.scope = spec_.sensitivity ? std::optional(Scope::kLayer) : spec_.scope;
  cut.channels.share = wanted.group.empty() ? wanted.share : 0;
  if (!wanted.group.empty()) cut.channels.overrides[wanted.group] = wanted.share;
  const int draws = wanted.criterion->traits().uses_seed ? spec_.draws : 1;
  for (int draw = 0; draw < draws; ++draw) {
    cut.seed = options_.seed + static_cast<uint64_t>(draw);
    PrunePlan plan = make_plan(sweep_.dense.model, evidence, cut);
    if (plan.removes_nothing()) {
      if (wanted.group.empty()) {
        throw UsageError("--channels " + share_text(wanted.share) + " removes nothing from " + sweep_.dense.path +
                         "; choose a larger share, or --round-to 1");
      }
      context_.output().note(wanted.group + ": a share of " + share_text(wanted.share) + " removes nothing and is left out");
      return;
    }
    if (draw == 0) {
      sweep_.points.push_back(wanted);
      sweep_.points.back().target = plan.target;
      for (const Repair repair : spec_.repairs) sweep_.points.back().results.push_back({repair, {}, {}});
    }
    Work work = work_of(plan);
    work_total_ += work.total();
    jobs_.push_back({sweep_.points.size() - 1, std::move(plan), std::move(work)});
  }
}

void Sweeper::plan_all(const Evidence& evidence) {
  std::vector<std::string> groups{""};
  if (spec_.sensitivity) {
    groups.clear();
    const Graph& graph = sweep_.dense.model.graph;
    for (const Group& group : find_groups(graph)) {
      if (group.prunable && !is_ignored(graph, group, spec_.target.ignore)) groups.push_back(group.name);
    }
  }
  for (const double share : spec_.shares) {
    for (const std::string& group : groups) {
      for (const Criterion* criterion : spec_.criteria) {
        SweepPoint point;
        point.criterion = criterion;
        point.share = share;
        point.group = group;
        plan_point(point, evidence);
      }
    }
  }
  if (jobs_.empty())
    throw UsageError("no group of " + sweep_.dense.path + " loses a channel at these shares; choose larger ones");
}

Progress Sweeper::start(CutWork what) {
  const bool repairs = what == CutWork::kRefit || what == CutWork::kReestimate || what == CutWork::kDistill;
  const Repair repair = spec_.repairs[result_];
  const double pieces = repair == Repair::kRefitBatchNorm || distils(repair) ? 2 : 1;
  const double work = repairs ? now_.repairs[result_] / pieces : now_.evaluation;
  return [this, work, before = work_done_](int64_t done, int64_t total) {
    if (total <= 0) return;
    work_done_ = before + work * static_cast<double>(done) / static_cast<double>(total);
    // measure_all() reports the end, when everything is done.
    bar_->update(std::llround(work_done_), std::max(std::llround(work_total_), std::llround(work_done_) + 1));
  };
}

void Sweeper::add(SweepResult& result, const Measured& measured, size_t draws) const {
  const auto n = static_cast<double>(draws);
  result.accuracy.samples = measured.accuracy.samples;
  result.accuracy.top1 += measured.accuracy.top1 / n;
  result.accuracy.top5 += measured.accuracy.top5 / n;
  result.accuracy.loss += measured.accuracy.loss / n;
  result.judged.right.resize(measured.hits.size(), 0.0F);
  for (size_t i = 0; i < measured.hits.size(); ++i) {
    result.judged.right[i] += static_cast<float>(measured.hits[i]) / static_cast<float>(draws);
  }
  if (draws > 1) result.judged.draws.push_back(measured.accuracy.top1);
}

void Sweeper::measure_job(const Job& job, const std::string& name) {
  SweepPoint& point = sweep_.points[job.point];
  const Dense& dense = sweep_.dense;
  const size_t draws = point.criterion->traits().uses_seed ? static_cast<size_t>(spec_.draws) : 1;
  const Applied applied = apply_checked(dense.model, job.plan, cut_run());
  now_ = job.work;
  if (!(applied.equivalence.difference / applied.equivalence.bound < point.equivalence.difference / point.equivalence.bound)) {
    point.equivalence = applied.equivalence;
  }
  // Draws with --scope global may differ in size: the mean is shown.
  const auto n = static_cast<int64_t>(draws);
  point.parameters += parameter_count(applied.model) / n;
  point.macs += macs(applied.model.graph) / n;
  point.parameter_bytes += parameter_bytes(applied.model) / draws;
  for (size_t r = 0; r < point.results.size(); ++r) {
    SweepResult& result = point.results[r];
    bar_->set_label(name + ", " + (result.repair == Repair::kNone ? "just pruned" : name_of(result.repair)));
    result_ = r;
    const Model model = result.repair == Repair::kNone
                            ? applied.model
                            : repaired(dense.model, applied.model, job.plan, result.repair, cut_run()).model;
    add(result, measure(model, cut_run(), CutWork::kRepaired), draws);
  }
}

void Sweeper::measure_all() {
  const double seconds = work_total_ * sweep_.dense.measured.ms_an_image / 1e3;
  context_.output().note("sweep: " + with_commas(static_cast<int64_t>(jobs_.size())) + " cuts, each measured on " +
                         with_commas(sweep_.dense.measured.accuracy.samples) + " images; about " +
                         duration(std::chrono::duration<double>(seconds)));
  bar_ = std::make_unique<ProgressBar>(context_.output(), "sweep", ProgressBar::Counts::kWork);
  for (size_t j = 0; j < jobs_.size(); ++j) {
    throw_if_interrupted();
    const SweepPoint& point = sweep_.points[jobs_[j].point];
    measure_job(jobs_[j], std::to_string(j + 1) + "/" + std::to_string(jobs_.size()) + " " + point.criterion->name() + " " +
                              (point.group.empty() ? "" : point.group + " ") + share_text(point.share));
  }
  bar_->set_label("sweep");
  bar_->update(1, 1);
  bar_.reset();
}

/// The evidence for all criteria: all sums in one pass, then the costs.
Evidence Sweeper::gather_all() {
  CutNotes notes(context_);
  const CutRun run = run_of(sweep_.dense, options_, notes);
  const Model& model = sweep_.dense.model;
  Evidence evidence;
  if (const Probes probes = union_of_probes(spec_.criteria, model.graph); !probes.empty()) {
    evidence = collect(model, probes, run);
  }
  for (const Criterion* criterion : spec_.criteria) {
    if (criterion->needs_images()) evidence.costs = measure_costs(model, *criterion, run);
  }
  return evidence;
}

/// What the network shows to be impossible, before any of the images is read.
void Sweeper::check(const Model& model, const CutInput& input) {
  CutOptions options;
  options.session = context_.session_options(input.batch);
  options.memory_left = [this] { return context_.memory_left(); };
  for (const Criterion* criterion : spec_.criteria) {
    options.criterion = criterion;
    check_memory(model, options);
    for (const double share : spec_.shares) {
      ChannelTarget target = spec_.target;
      target.share = share;
      target.scope = criterion->scope_for(spec_.sensitivity ? std::optional(Scope::kLayer) : spec_.scope);
      if (!spec_.sensitivity) {
        check_channels(target, model.graph, input.model);
      } else {
        check_target(find_groups(model.graph), model.graph, target);
      }
    }
  }
}

Sweep Sweeper::run(const CutInput& input) {
  sweep_.dense = load_dense(input, context_, [&](const Model& model) { check(model, input); });
  options_ = options_for({}, sweep_.dense, context_);
  options_.refit_target = spec_.refit_target;
  const Evidence evidence = gather_all();
  sweep_.statistics_bytes = evidence.statistics_bytes;
  context_.phase("scoring", [&] { plan_all(evidence); });
  context_.phase("sweep", [&] { measure_all(); });
  return std::move(sweep_);
}

}  // namespace

Sweep run_sweep(const CutInput& input, const SweepSpec& spec, Context& context) { return Sweeper(spec, context).run(input); }

Rivals rivals_of(const Sweep& sweep, const SweepPoint& point, size_t result) {
  Rivals rivals;
  for (const SweepPoint& other : sweep.points) {
    if (other.share != point.share || other.group != point.group) continue;
    const SweepResult* const its = &other.results.at(result);
    if (rivals.best == nullptr || its->accuracy.top1 > rivals.best->accuracy.top1) rivals.best = its;
    if (other.criterion->traits().uses_seed) rivals.random = its;
  }
  return rivals;
}

Judged judged_dense(const Dense& dense) { return {{dense.measured.hits.begin(), dense.measured.hits.end()}, {}}; }

Estimate accuracy_of(const Judged& judged) {
  const std::vector<double> right(judged.right.begin(), judged.right.end());
  return mean_of(right);
}

}  // namespace elek::cli
