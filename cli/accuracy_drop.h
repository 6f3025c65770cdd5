// SPDX-License-Identifier: Apache-2.0
// --accuracy-drop: the largest cut that loses at most so much accuracy on images that are held out. Shared by coverage, wanda
// and recommend. Tests: tests/cli/accuracy_drop_test.cpp
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/cut.h"
#include "prune/largest_cut.h"

namespace elek::cli {

struct DropOptions {
  std::optional<double> points;  // percentage points of top-1
  std::string hold_out;          // DATA; empty: images of --calibrate that do not calibrate
};
/// --hold-out.
void add_hold_out(CLI::App& command, DropOptions& options);
/// --accuracy-drop, and --hold-out, which needs it. It excludes those of `others` that the command has.
void add_accuracy_drop(CLI::App& command, DropOptions& options, const std::vector<std::string>& others);

/// The images that judge.
struct HeldOut {
  std::string word;  // DATA
  std::shared_ptr<const Dataset> data;
  bool is_labelled = true;  // false: the dense network's classes take the place of labels
  std::unique_ptr<BatchSource> source;
  Measured measured;  // of the dense network
};
/// Finds the images, without reading them. UsageError if too few are left of the calibration data; errors of labelled_data().
[[nodiscard]] HeldOut held_out(const DropOptions& options, const CutInput& input, const Model& model, const Context& context);
/// Runs the dense network on them. Data without labels get its classes as labels.
void measure_held_out(HeldOut& held, const Dense& dense, Context& context);

/// The largest cut by this evidence. Says what each try loses. `what` as options_for() returns it; a repair that distils
/// becomes a refit, which takes less time and mostly loses more.
[[nodiscard]] LargestCut find_within_drop(double points, const HeldOut& held, const Dense& dense, const Evidence& evidence,
                                          CutOptions what, Context& context);
/// One line on the largest cut, which must exist.
[[nodiscard]] std::string largest_text(const LargestCut& largest, double points, const HeldOut& held, bool weights);
/// The error if no cut is within the loss.
[[nodiscard]] UsageError no_cut_error(const LargestCut& largest, double points, bool weights);
[[nodiscard]] Json largest_json(const LargestCut& largest, double points, const HeldOut& held);

}  // namespace elek::cli
