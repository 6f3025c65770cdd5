// SPDX-License-Identifier: Apache-2.0
// elek sweep in parts: what is asked, the cuts with their accuracies, and the ways to show them. All cuts come from one pass
// over the calibration images that takes the sums of every criterion asked for. Tests: tests/cli/sweep_test.cpp
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
  std::vector<Repair> repairs;  // kNone first: just pruned is always measured
  int draws = 5;                // of random, seeded by --seed and what follows it
  bool sensitivity = false;     // cut each group alone instead of all
  std::optional<Scope> scope;   // empty: each criterion's own
  ChannelTarget target;         // rounding, names to ignore
};

/// One repair of one cut. Of random: means over the draws.
struct SweepResult {
  Repair repair = Repair::kNone;
  Accuracy accuracy;
  Judged judged;
};
/// One cut by one criterion.
struct SweepPoint {
  const Criterion* criterion = nullptr;
  double share = 0;
  std::string group;  // the only one cut, with sensitivity
  std::string target;
  int64_t parameters = 0;
  int64_t macs = 0;
  size_t parameter_bytes = 0;
  Equivalence equivalence;           // of the draw nearest to its bound
  std::vector<SweepResult> results;  // one a repair, in the spec's order
};
struct Sweep {
  Dense dense;
  size_t statistics_bytes = 0;
  std::vector<SweepPoint> points;  // by share, then group, then criterion
};

/// Everything but words. UsageError if a cut would remove nothing (with sensitivity: if none removes anything).
[[nodiscard]] Sweep run_sweep(const CutInput& input, const SweepSpec& spec, Context& context);

/// What a result is to be compared with: the same share, group and repair.
struct Rivals {
  const SweepResult* best = nullptr;    // of all criteria, by accuracy
  const SweepResult* random = nullptr;  // of a criterion that draws; null where none was asked for
};
[[nodiscard]] Rivals rivals_of(const Sweep& sweep, const SweepPoint& point, size_t result);
[[nodiscard]] Judged judged_dense(const Dense& dense);
/// The accuracy with the standard error that the images leave it.
[[nodiscard]] Estimate accuracy_of(const Judged& judged);

[[nodiscard]] std::string sweep_table(const Sweep& sweep, const SweepSpec& spec);
[[nodiscard]] Json sweep_json(const Sweep& sweep, const SweepSpec& spec);
/// RFC 4180: a header, one line a cut and repair, fields quoted where they must be; accuracies are fractions.
[[nodiscard]] std::string sweep_csv(const Sweep& sweep);
/// The same format, a line an image of the evaluation data, a column a result, dense first: 1 where the network was right (of
/// random the share of its draws). Two sweeps over the same images can be paired by it.
[[nodiscard]] std::string images_csv(const Sweep& sweep);
[[nodiscard]] Plot sweep_plot(const Sweep& sweep, const SweepSpec& spec);

}  // namespace elek::cli
