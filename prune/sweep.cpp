// SPDX-License-Identifier: Apache-2.0
// Plans all cuts first, so that the work is known before the first is measured. Each cut builds its sessions, works and
// destroys them. Tests: tests/prune/sweep_test.cpp
#include "prune/sweep.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/early_checks.h"
#include "prune/phase.h"
#include "prune/score.h"
#include "prune/select.h"

namespace elek {
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

/// Also the observer of its cuts: it turns the progress of their parts into one.
class Sweeper final : public CutObserver {
 public:
  Sweeper(const Model& dense, const Measured& measured, const SweepSpec& spec, const CutRun& run, SweepObserver& observer)
      : dense_(dense), measured_(measured), spec_(spec), run_(run), observer_(observer) {}
  Sweep run();
  [[nodiscard]] Progress start(CutWork what) override;

 private:
  [[nodiscard]] Evidence gather_all();
  void plan_all(const Evidence& evidence);
  void plan_point(const SweepPoint& wanted, const Evidence& evidence);
  void measure_all();
  void measure_job(size_t index);
  void add(SweepResult& result, const Measured& measured, size_t draws) const;
  [[nodiscard]] Work work_of(const PrunePlan& plan);
  [[nodiscard]] CutRun cut_run() { return {run_.options, run_.calibration, run_.evaluation, *this, run_.ms_an_image}; }

  const Model& dense_;
  const Measured& measured_;
  const SweepSpec& spec_;
  const CutRun& run_;
  SweepObserver& observer_;
  Sweep sweep_;
  std::vector<Job> jobs_;
  Work now_;           // of the cut that is measured now
  size_t result_ = 0;  // index of the repair that is measured now
  double work_done_ = 0;
  double work_total_ = 0;
};

Work Sweeper::work_of(const PrunePlan& plan) {
  const Model model = apply(dense_, plan, run_.options.memory != nullptr ? *run_.options.memory : host_resource());
  const double share = static_cast<double>(macs(model.graph)) / static_cast<double>(macs(dense_.graph));
  const auto calibration = static_cast<double>(run_.calibration.samples());
  Work work{share * static_cast<double>(measured_.accuracy.samples), {}};
  for (const Repair repair : spec_.repairs) {
    double passes = reestimates(repair) ? kReestimateCost * share : 0;
    if (refits(repair)) passes += forecast_refit(dense_, model, plan, cut_run()).dense_passes;
    if (distils(repair)) passes += std::max(run_.options.distill.passes, 10) * (1 + kTrainingCost * share);
    work.repairs.push_back(passes * calibration);
  }
  return work;
}

void Sweeper::plan_point(const SweepPoint& wanted, const Evidence& evidence) {
  CutOptions cut = run_.options;
  cut.criterion = wanted.criterion;
  cut.channels = spec_.target;
  cut.scope = spec_.sensitivity ? std::optional(Scope::kLayer) : spec_.scope;
  cut.channels.share = wanted.group.empty() ? wanted.share : 0;
  if (!wanted.group.empty()) cut.channels.overrides[wanted.group] = wanted.share;
  const int draws = wanted.criterion->traits().uses_seed ? spec_.draws : 1;
  for (int draw = 0; draw < draws; ++draw) {
    cut.seed = run_.options.seed + static_cast<uint64_t>(draw);
    PrunePlan plan = make_plan(dense_, evidence, cut);
    if (plan.removes_nothing()) {
      if (wanted.group.empty()) throw RemovesNothing(plan.target);
      observer_.left_out(wanted.group, wanted.share);
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
    const Graph& graph = dense_.graph;
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
  if (jobs_.empty()) throw RemovesNothing("of one group alone, at each share,");
}

Progress Sweeper::start(CutWork what) {
  const bool repairs = what == CutWork::kRefit || what == CutWork::kReestimate || what == CutWork::kDistill;
  const Repair repair = spec_.repairs[result_];
  const double pieces = repair == Repair::kRefitBatchNorm || distils(repair) ? 2 : 1;
  const double work = repairs ? now_.repairs[result_] / pieces : now_.evaluation;
  return [this, work, before = work_done_](int64_t done, int64_t total) {
    if (total <= 0) return;
    work_done_ = before + work * static_cast<double>(done) / static_cast<double>(total);
    // Estimates may be too small: the end is reported only when everything is done.
    observer_.progress(std::llround(work_done_), std::max(std::llround(work_total_), std::llround(work_done_) + 1));
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

void Sweeper::measure_job(size_t index) {
  const Job& job = jobs_[index];
  SweepPoint& point = sweep_.points[job.point];
  const size_t draws = point.criterion->traits().uses_seed ? static_cast<size_t>(spec_.draws) : 1;
  const Applied applied = apply_checked(dense_, job.plan, cut_run());
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
    observer_.measuring(index + 1, jobs_.size(), point, result.repair);
    result_ = r;
    const Model model = result.repair == Repair::kNone
                            ? applied.model
                            : repaired(dense_, applied.model, job.plan, result.repair, cut_run()).model;
    add(result, measure(model, cut_run(), CutWork::kRepaired), draws);
  }
}

void Sweeper::measure_all() {
  throw_if_interrupted();
  observer_.begin(std::ssize(jobs_), work_total_ * measured_.ms_an_image);
  for (size_t j = 0; j < jobs_.size(); ++j) {
    throw_if_interrupted();
    measure_job(j);
  }
  observer_.end();
}

/// The evidence for all criteria: all sums in one pass, then the costs.
Evidence Sweeper::gather_all() {
  Evidence evidence;
  if (const Probes probes = union_of_probes(spec_.criteria, dense_.graph); !probes.empty()) {
    evidence = collect(dense_, probes, run_);
  }
  for (const Criterion* criterion : spec_.criteria) {
    if (criterion->needs_images()) evidence.costs[criterion->name()] = measure_costs(dense_, *criterion, run_);
  }
  return evidence;
}

Sweep Sweeper::run() {
  sweep_.dense = {{measured_.hits.begin(), measured_.hits.end()}, {}};
  const Evidence evidence = gather_all();
  sweep_.statistics_bytes = evidence.statistics_bytes;
  in_phase(run_.observer, CutPhase::kScoring, [&] {
    plan_all(evidence);
    return jobs_.size();
  });
  measure_all();
  return std::move(sweep_);
}

}  // namespace

void SweepObserver::left_out(const std::string& /*group*/, double /*share*/) {}
void SweepObserver::begin(int64_t /*cuts*/, double /*ms*/) {}
void SweepObserver::measuring(size_t /*cut*/, size_t /*cuts*/, const SweepPoint& /*point*/, Repair /*repair*/) {}
void SweepObserver::progress(int64_t /*done*/, int64_t /*total*/) {}
void SweepObserver::end() {}

void check_sweep(const Model& dense, const SweepSpec& spec, const CutOptions& options) {
  const std::vector<Group> groups = find_groups(dense.graph);
  CutOptions cut = options;
  for (const Criterion* criterion : spec.criteria) {
    cut.criterion = criterion;
    check_memory(dense, cut);
    for (const double share : spec.shares) {
      ChannelTarget target = spec.target;
      target.share = share;
      target.scope = criterion->scope_for(spec.sensitivity ? std::optional(Scope::kLayer) : spec.scope);
      check_target(groups, dense.graph, target);
      if (!spec.sensitivity && removes_nothing(groups, dense.graph, target)) throw RemovesNothing(target_text(target));
    }
  }
}

Sweep run_sweep(const Model& dense, const Measured& measured, const SweepSpec& spec, const CutRun& run,
                SweepObserver& observer) {
  return Sweeper(dense, measured, spec, run, observer).run();
}

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

Estimate accuracy_of(const Judged& judged) {
  const std::vector<double> right(judged.right.begin(), judged.right.end());
  return mean_of(right);
}

}  // namespace elek
