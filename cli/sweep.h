// SPDX-License-Identifier: Apache-2.0
// The parts of elek sweep: the request, the cuts with their accuracies, and the outputs. All cuts share one pass over the
// calibration images, which takes the sums of every criterion asked for. Tests: tests/cli/sweep_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/cut.h"
#include "cli/paired.h"
#include "cli/plot.h"

namespace elek::cli {

struct SweepSpec {
  std::vector<const Criterion*> criteria;
  std::vector<double> shares;   // ascending, each in (0, 1)
  std::vector<Repair> repairs;  // kNone first: the network without repair is always measured
  RefitTarget refit_target = kDefaultRefitTarget;
  int draws = 5;               // of random; the seeds are --seed, --seed + 1, …
  bool sensitivity = false;    // cut each group alone instead of all groups
  std::optional<Scope> scope;  // empty: each criterion's default
  ChannelTarget target;        // rounding, and names to ignore
};

/// One repair of one cut. For random: means over the draws.
struct SweepResult {
  Repair repair = Repair::kNone;
  Accuracy accuracy;
  Judged judged;
};
/// One cut by one criterion.
struct SweepPoint {
  const Criterion* criterion = nullptr;
  double share = 0;
  std::string group;  // with sensitivity: the only group that is cut
  std::string target;
  int64_t parameters = 0;
  int64_t macs = 0;
  size_t parameter_bytes = 0;
  Equivalence equivalence;           // of the draw that is closest to its bound
  std::vector<SweepResult> results;  // one per repair, in the spec's order
};
struct Sweep {
  Dense dense;
  size_t statistics_bytes = 0;
  std::vector<SweepPoint> points;  // by share, then group, then criterion
};

/// Computes everything except the output texts. UsageError if a cut would remove nothing (with sensitivity: if no cut removes
/// anything).
[[nodiscard]] Sweep run_sweep(const CutInput& input, const SweepSpec& spec, Context& context);

/// The results to compare a result with: those of the same share, group and repair.
struct Rivals {
  const SweepResult* best = nullptr;    // the best accuracy of all criteria
  const SweepResult* random = nullptr;  // of a criterion that draws; null if there is none
};
[[nodiscard]] Rivals rivals_of(const Sweep& sweep, const SweepPoint& point, size_t result);
[[nodiscard]] Judged judged_dense(const Dense& dense);
/// The accuracy and its standard error from the number of images.
[[nodiscard]] Estimate accuracy_of(const Judged& judged);

[[nodiscard]] std::string sweep_table(const Sweep& sweep, const SweepSpec& spec);
[[nodiscard]] Json sweep_json(const Sweep& sweep, const SweepSpec& spec);
/// RFC 4180: a header, one line per cut and repair, fields quoted if they must be; accuracies are fractions.
[[nodiscard]] std::string sweep_csv(const Sweep& sweep);
/// The same format with one line per image of the evaluation data and one column per result, dense first: 1 if the network was
/// right, 0 if not (random: the share of draws that were right). Two sweeps over the same images can be paired with it.
[[nodiscard]] std::string images_csv(const Sweep& sweep);
[[nodiscard]] Plot sweep_plot(const Sweep& sweep, const SweepSpec& spec);

}  // namespace elek::cli
