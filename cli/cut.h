// SPDX-License-Identifier: Apache-2.0
// The steps of a cut, shared by coverage, wanda, sweep and demo: loading a dense network with its data, running the library's
// recipe (elek/prune.h) with this command's memory, progress bars and notes, and writing the cut network's file. Makes no
// choices itself.
// Tests: tests/cli/flow_test.cpp, tests/cli/choose_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cli/context.h"
#include "cli/paths.h"
#include "elek/data.h"
#include "elek/graph.h"
#include "elek/prune.h"
#include "prune/recipe_steps.h"

namespace elek::cli {

/// The network to cut, and the data it is judged on.
struct CutInput {
  std::string model;
  std::string calibrate;
  std::string evaluate;  // empty: nothing is measured, because only the sums are wanted
  int64_t max_batches = 20;
  int64_t batch = 50;
  std::string keep_activations;  // empty: none
  bool use_labels = false;       // the calibration images must have labels of the model's classes
  [[nodiscard]] size_t keep_bytes() const;
};

/// The files that a cut reads, for the check of its outputs.
[[nodiscard]] Paths input_paths(const CutInput& input);

/// A dense network with its data and accuracy, shared by all cuts of it.
struct Dense {
  std::string path;
  size_t file_bytes = 0;
  Model model;
  CutInput input;
  std::unique_ptr<BatchSource> calibration;   // the images used, in the seeded order
  std::shared_ptr<const Dataset> evaluation;  // null: nothing is measured
  std::unique_ptr<BatchSource> evaluation_source;
  int64_t overlap = 0;  // calibration images that are evaluation images too
  Measured measured;    // of the dense network
};

/// Reports on a cut: a progress bar for each piece of work, a note for each fact, and the context's phases.
class CutNotes : public CutObserver {
 public:
  explicit CutNotes(Context& context) : context_(context) {}
  void begin(CutPhase phase) override;
  void end(CutPhase phase) override;
  [[nodiscard]] Progress start(CutWork work) override;
  void forecast(const Forecast& forecast) override;
  void chosen(int step, int steps, const PrunePlan& so_far) override;
  void distilled(const DistillReport& report) override;
  void checked(const Equivalence& equivalence) override;

 private:
  Context& context_;
};

/// `what`, completed with the command's device, batch, seed and memory, for cuts of `dense`.
[[nodiscard]] CutOptions options_for(CutOptions what, const Dense& dense, Context& context);
/// A run of the recipe on the dense network's data.
[[nodiscard]] CutRun run_of(const Dense& dense, const CutOptions& options, CutObserver& observer);

/// Loads model and data, warns if images are in both data sets, and measures the dense accuracy if there is evaluation data
/// (phases load, inference). `check` sees the model before any of the data: what cannot be meant must not come after the work.
[[nodiscard]] Dense load_dense(const CutInput& input, Context& context, const std::function<void(const Model&)>& check = {});

/// The error for a target that removes nothing.
[[nodiscard]] UsageError removes_nothing_error(const std::string& target, const std::string& path, bool weights);

struct CutResult {
  CutReport report;  // its model is the quantised one, if that was asked for
  std::optional<Accuracy> quantized;
  size_t quantized_arena_bytes = 0;
  size_t dense_file_bytes = 0;
  size_t pruned_file_bytes = 0;
};
/// What becomes of the cut network in the end.
enum class Storage : uint8_t { kF32, kInt8 };
/// Cuts, quantises if asked to, measures on the evaluation data, which must exist, and saves to `out`. UsageError if nothing
/// would be removed. The file is written last, completely or not at all; none is if `out` is empty.
[[nodiscard]] CutResult cut_to_file(const Dense& dense, const Evidence& evidence, CutOptions options, Storage storage,
                                    const std::string& out, Context& context);

}  // namespace elek::cli
