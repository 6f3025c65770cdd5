// SPDX-License-Identifier: Apache-2.0
// The way of a cut, shared by coverage, wanda and demo: dense network and its accuracy, statistics, plan, apply, the check
// that compact equals masked, accuracy just after, repair, accuracy repaired, file and report.
// Tests: tests/cli/flow_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "core/statistics.h"
#include "engine/evaluate.h"
#include "graph/model.h"
#include "prune/apply.h"
#include "prune/refit.h"
#include "prune/repair.h"
#include "prune/score.h"
#include "prune/select.h"

namespace elek::cli {

/// Where a cut starts from, and on what data it is judged.
struct CutInput {
  std::string model;
  std::string calibrate;
  std::string evaluate;  // empty: nothing is measured, because only the sums are wanted
  int64_t max_batches = 20;
  int64_t batch = 50;
};

/// A dense network with its data and its accuracy: what all cuts of it share.
struct Dense {
  std::string path;
  Model model;
  CutInput input;
  std::shared_ptr<const Dataset> calibration;  // the images used, in the seeded order
  std::shared_ptr<const Dataset> evaluation;
  int64_t overlap = 0;  // calibration images that are evaluation images too
  Accuracy accuracy;
  std::vector<uint8_t> hits;  // one an evaluation image: 1 where the network was right
  double ms_an_image = 0;     // what the evaluation took: later work is foretold from it
  size_t arena_bytes = 0;
  std::vector<std::vector<double>> refit_costs;  // of every group's channels, once add_refit_costs() has taken them
};
/// Takes what the metric refit goes by, over the calibration images (phase collection).
void add_refit_costs(Dense& dense, Context& context);
/// What refitting a cut of it will hold and take, within the memory there is.
[[nodiscard]] RefitPlan refit_plan(const Dense& dense, const Model& pruned, const PrunePlan& plan, Context& context);
/// Loads model and data, warns about images in both, measures the dense accuracy if there is data for it (phases load,
/// inference).
[[nodiscard]] Dense load_dense(const CutInput& input, Context& context);

/// Who watches a piece of long work: given what it is, what to call after each batch. bars() draws one bar a piece.
using Watch = std::function<Progress(const std::string& label)>;
[[nodiscard]] Watch bars(const Context& context);

/// Accuracy of a network on the evaluation images.
struct Measured {
  Accuracy accuracy;
  std::vector<uint8_t> hits;  // one an image, in order
  size_t arena_bytes = 0;
  double ms_an_image = 0;
};
[[nodiscard]] Measured measure(const Model& model, const Dense& dense, const Progress& progress, Context& context);

/// Sums over the calibration images (phase collection); statistics_bytes is what the session held for them.
struct Collected {
  Statistics statistics;
  size_t statistics_bytes = 0;
};
[[nodiscard]] Collected collect(const Dense& dense, const Probes& probes, Context& context);

/// What to cut and how.
struct CutSpec {
  bool weights = false;  // zero single weights (Wanda); else remove channels by `criterion`
  Criterion criterion = Criterion::kStdConsumer;
  Tap tap = Tap::kRelu;
  ChannelTarget channels;
  WeightTarget sparsity;
  Repair repair = Repair::kRefit;
  int steps = 1;       // rounds to reach the target in, with statistics retaken between them
  std::string replay;  // a cut network's file: repeat its choice instead of scoring
  std::string out;
};
[[nodiscard]] Probes probes_of(const CutSpec& spec, const Graph& graph);

/// What goes, by the spec's criterion and target; `seed` matters to random scores. Changes nothing. The metric refit needs
/// add_refit_costs() before, and takes the scope global as where MACs cost least (Scope::kMacs).
[[nodiscard]] PrunePlan make_plan(const Dense& dense, const Statistics& statistics, const CutSpec& spec, uint64_t seed);

/// The compact network, checked on a batch against the masked dense one.
struct Applied {
  Model model;
  Equivalence equivalence;
};
[[nodiscard]] Applied apply_checked(const Dense& dense, const PrunePlan& plan, Context& context);

/// The cut network repaired from the dense one over the calibration images.
[[nodiscard]] Model repaired(const Dense& dense, const Model& pruned, const PrunePlan& plan, Repair repair, const Watch& watch,
                             Context& context);

struct CutResult {
  Model model;  // as saved
  PrunePlan plan;
  Equivalence equivalence;
  Accuracy pruned;
  std::optional<Accuracy> repaired;
  size_t pruned_arena_bytes = 0;
  size_t dense_file_bytes = 0;
  size_t pruned_file_bytes = 0;
};
/// Scores, cuts, checks, repairs, measures and saves. UsageError if nothing would go; the file is written last and whole.
[[nodiscard]] CutResult cut(const Dense& dense, const Collected& collected, const CutSpec& spec, Context& context);

/// --model, --calibrate, --evaluate, --max-batches, --batch.
void add_cut_input(CLI::App& command, CutInput& input);

/// How channels compete and counts are rounded, as texts; --scope, --round-to, --ignore.
struct Selection {
  std::string scope = "auto";
  std::string round_to = "auto";
  std::vector<std::string> ignore;
};
void add_selection(CLI::App& command, Selection& selection);
/// Into the target, whose share is left alone; the scope auto is the criterion's own. UsageError naming the option.
void resolve(const Selection& selection, Criterion criterion, ChannelTarget& target);
/// layer, global, or auto: global for refit, whose costs can be compared across groups, layer for the others.
[[nodiscard]] Scope scope_of(const std::string& text, Criterion criterion);

/// The options that coverage and wanda share, and the whole run of either.
struct CutCommand {
  Common common;
  CutInput input;
  CutSpec spec;
  Selection selection;
  std::string repair = "refit";
  bool no_repair = false;
  std::vector<std::string> layers;  // NAME=share
  std::optional<double> macs;       // share of the MACs that may stay, instead of a share of channels
  std::string tap = "relu";
  std::string save_statistics;
  std::string statistics;
  std::vector<std::string> why;  // groups (or layers) to explain
  std::string metric_note;       // which metric it is and why, where nobody named one
};
void add_cut_options(CLI::App& command, CutCommand& options);
/// Texts to enums: selection, repair, tap, shares a layer. UsageError naming the option.
void resolve(CutCommand& options);
void run_cut(const std::string& name, CutCommand options);

}  // namespace elek::cli
