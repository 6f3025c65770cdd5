// SPDX-License-Identifier: Apache-2.0
// Many cuts of one network: accuracy against size for several criteria, shares and repairs. All cuts share one pass over the
// calibration images, which takes the sums of every criterion. Differences between results are judged image by image
// (core/paired.h). Reads and writes no file and prints nothing. Tests: tests/prune/sweep_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/paired.h"
#include "prune/recipe_steps.h"

namespace elek {

struct SweepSpec {
  std::vector<const Criterion*> criteria;
  std::vector<double> shares;   // ascending, each in (0, 1)
  std::vector<Repair> repairs;  // kNone first: the network without repair is always measured
  int draws = 5;                // of a random criterion; the seeds are the run's seed, seed + 1, …
  bool sensitivity = false;     // cut each group alone instead of all groups
  std::optional<Scope> scope;   // empty: each criterion's default
  ChannelTarget target;         // rounding, and names to ignore
};

/// One repair of one cut. For a random criterion: means over the draws.
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
  Judged dense;
  size_t statistics_bytes = 0;
  std::vector<SweepPoint> points;  // by share, then group, then criterion
};

/// Is told what a sweep does after the collection, which the run's CutObserver is told of. Calls come on the sweep's thread.
class SweepObserver {
 public:
  SweepObserver() = default;
  SweepObserver(const SweepObserver&) = delete;
  SweepObserver& operator=(const SweepObserver&) = delete;
  virtual ~SweepObserver() = default;
  /// With sensitivity: this share removes no channel of the group, so this cut is left out.
  virtual void left_out(const std::string& group, double share);
  /// All cuts are planned. Measuring them takes about `ms` milliseconds (0 if the dense network was not timed).
  virtual void begin(int64_t cuts, double ms);
  /// Cut number `cut` of `cuts`, from 1 on, is now repaired and measured.
  virtual void measuring(size_t cut, size_t cuts, const SweepPoint& point, Repair repair);
  /// The work that is done, in images through the dense network. `done` is always less than `total`.
  virtual void progress(int64_t done, int64_t total);
  virtual void end();  // not called after an exception
};

/// What the network shows to be impossible, before any image is read. RemovesNothing for a share that surely removes nothing
/// (without sensitivity); UsageError for an impossible target; OutOfMemory if a criterion's costs cannot be measured.
void check_sweep(const Model& dense, const SweepSpec& spec, const CutOptions& options);

/// Makes, repairs and measures all cuts. `run` gives data, seed, sessions, memory and the refit's target; `measured` is the
/// dense network's accuracy. RemovesNothing if a cut removes nothing; with sensitivity, if none removes anything.
[[nodiscard]] Sweep run_sweep(const Model& dense, const Measured& measured, const SweepSpec& spec, const CutRun& run,
                              SweepObserver& observer);

/// The results to compare a result with: those of the same share, group and repair.
struct Rivals {
  const SweepResult* best = nullptr;    // the best accuracy of all criteria
  const SweepResult* random = nullptr;  // of a criterion that draws; null if there is none
};
[[nodiscard]] Rivals rivals_of(const Sweep& sweep, const SweepPoint& point, size_t result);
/// The accuracy and its standard error from the number of images.
[[nodiscard]] Estimate accuracy_of(const Judged& judged);

}  // namespace elek
