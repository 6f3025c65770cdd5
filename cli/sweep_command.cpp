// SPDX-License-Identifier: Apache-2.0
// elek sweep: accuracy against size for many shares and criteria from one calibration; with --sensitivity, one group at a time.
#include <algorithm>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/cut_command.h"
#include "cli/paths.h"
#include "cli/sweep.h"
#include "core/error.h"
#include "core/file.h"
#include "models/safetensors.h"
#include "prune/select.h"

namespace elek::cli {
namespace {

struct SweepOptions {
  Common common;
  CutInput input;
  Selection selection;
  std::vector<std::string> metrics{"refit", "std-consumer", "wanda"};
  std::vector<double> shares{0.1, 0.3, 0.5, 0.7};
  std::vector<std::string> repairs{"refit"};
  std::string refit_target = name_of(kDefaultRefitTarget);
  int draws = 5;
  bool sensitivity = false;
  std::string csv;
  std::string images;
  std::string plot;
};

std::vector<const Criterion*> criteria_of(const std::vector<std::string>& names) {
  std::vector<const Criterion*> criteria;
  const auto add = [&criteria](const Criterion* criterion) {
    if (std::find(criteria.begin(), criteria.end(), criterion) == criteria.end()) criteria.push_back(criterion);
  };
  for (const std::string& name : names) {
    if (name != "all") {
      add(&find_criterion(name));
      continue;
    }
    for (const Criterion* each : all_criteria()) add(each);
  }
  return criteria;
}

SweepSpec spec_of(const SweepOptions& options) {
  SweepSpec spec;
  if (options.selection.round_to == "measured") {
    throw UsageError(
        "--round-to measured cannot be used with sweep, which makes the same networks on every machine; use auto or a number");
  }
  spec.criteria = criteria_of(options.metrics);
  resolve(options.selection, spec.target);
  spec.scope = scope_of(options.selection.scope);
  const std::set<double> shares(options.shares.begin(), options.shares.end());
  for (const double share : shares) {
    if (!(share > 0 && share < 1)) {
      throw UsageError("--channels " + share_text(share) +
                       ": expected shares of more than 0 and less than 1, for example 0.1,0.3,0.5");
    }
    spec.shares.push_back(share);
  }
  spec.repairs = {Repair::kNone};
  for (const std::string& name : options.repairs) {
    const Repair repair = repair_from_name(name);
    if (std::find(spec.repairs.begin(), spec.repairs.end(), repair) == spec.repairs.end()) spec.repairs.push_back(repair);
  }
  spec.draws = options.draws;
  spec.sensitivity = options.sensitivity;
  if (spec.sensitivity && spec.scope == Scope::kGlobal) {
    throw UsageError("--sensitivity cuts one group at a time, so --scope global has no meaning; leave it out");
  }
  return spec;
}

/// One bar and one phase for all cuts.
class SweepNotes final : public SweepObserver {
 public:
  SweepNotes(Context& context, int64_t images) : context_(context), images_(images) {}
  void left_out(const std::string& group, double share) override {
    context_.output().note(group + ": a share of " + share_text(share) + " removes nothing and is left out");
  }
  void begin(int64_t cuts, double ms) override {
    context_.begin_phase("sweep");
    context_.output().note("sweep: " + with_commas(cuts) + " cuts, each measured on " + with_commas(images_) +
                           " images; about " + duration(std::chrono::duration<double>(ms / 1e3)));
    bar_ = std::make_unique<ProgressBar>(context_.output(), "sweep", ProgressBar::Counts::kWork);
  }
  void measuring(size_t cut, size_t cuts, const SweepPoint& point, Repair repair) override {
    bar_->set_label(std::to_string(cut) + "/" + std::to_string(cuts) + " " + point.criterion->name() + " " +
                    (point.group.empty() ? "" : point.group + " ") + share_text(point.share) + ", " +
                    (repair == Repair::kNone ? "just pruned" : name_of(repair)));
  }
  void progress(int64_t done, int64_t total) override { bar_->update(done, total); }
  void end() override {
    bar_->set_label("sweep");
    bar_->update(1, 1);
    bar_.reset();
    context_.end_phase();
  }

 private:
  Context& context_;
  int64_t images_;
  std::unique_ptr<ProgressBar> bar_;
};

/// Calls the library; its error for a target that removes nothing gets the file's name and advice.
template <typename Work>
auto naming_the_file(const SweepSpec& spec, const std::string& path, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const RemovesNothing& error) {
    if (!spec.sensitivity) throw removes_nothing_error(error.target(), path, false);
    throw UsageError("no group of " + path + " loses a channel at these shares; choose larger ones");
  }
}

void sweep(const SweepOptions& options) {
  const SweepSpec spec = spec_of(options);
  CutOptions what;
  what.refit_target = refit_target_from_name(options.refit_target);
  if (!options.plot.empty() && !options.plot.ends_with(".svg")) {
    throw UsageError("--plot " + options.plot + ": expected a name that ends in .svg");
  }
  Context context(options.common);
  input_paths(options.input)
      .writes("--csv", options.csv)
      .writes("--images", options.images)
      .writes("--plot", options.plot)
      .check();
  const std::string& path = options.input.model;
  const Dense dense = load_dense(options.input, context, [&](const Model& model) {
    what.session = context.session_options(options.input.batch);
    what.memory_left = [&context] { return context.memory_left(); };
    naming_the_file(spec, path, [&] { check_sweep(model, spec, what); });
  });
  what = options_for(what, dense, context);
  CutNotes notes(context);
  SweepNotes sweep_notes(context, dense.measured.accuracy.samples);
  const Sweep made = naming_the_file(
      spec, path, [&] { return run_sweep(dense.model, dense.measured, spec, run_of(dense, what, notes), sweep_notes); });
  if (!options.csv.empty()) write_whole_file(options.csv, sweep_csv(dense, made));
  if (!options.images.empty()) write_whole_file(options.images, images_csv(made));
  if (!options.plot.empty()) write_whole_file(options.plot, plot_svg(sweep_plot(dense, made, spec)));
  context.output().result("\n" + sweep_table(dense, made, spec));
  context.output().result("statistics: " + readable_bytes(made.statistics_bytes) + " of memory for " +
                          with_commas(dense.calibration->samples()) + " images, shared by all criteria\n");
  context.print_phases();
  Json json = sweep_json(dense, made, spec);
  json["seed"] = options.common.seed;
  json["peak_rss_bytes"] = context.peak_rss_bytes();
  json["phases"] = context.phases_json();
  context.output().json(json);
}

}  // namespace

void add_sweep(CLI::App& app, Run& run) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* command =
      app.add_subcommand("sweep", "Accuracy for many shares and criteria, from one pass over the calibration images");
  add_cut_input(*command, options->input);
  command
      ->add_option(
          "--metric", options->metrics,
          "Criteria, for example std-consumer,refit,wanda,random; random: mean and spread of --draws; all: every criterion")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--channels", options->shares, "Shares of the channels to remove, for example 0.1,0.3,0.5")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option(
          "--repair", options->repairs,
          "Repairs to measure, of refit,bn,refit+bn. The network without repair is always measured; none: only this one")
      ->delimiter(',')
      ->capture_default_str();
  add_refit_target(*command, options->refit_target);
  command->add_option("--draws", options->draws, "Number of draws of the criterion random")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_flag("--sensitivity", options->sensitivity, "Cut one group at a time, to see which layers are sensitive");
  add_selection(*command, options->selection);
  command->add_option("--csv", options->csv, "Write the results to this CSV file");
  command->add_option("--images", options->images,
                      "Write to this CSV file which networks were right on which image, to compare sweeps image by image");
  command->add_option("--plot", options->plot, "Draw the results into this .svg file");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek sweep --model net.safetensors --calibrate images:train --evaluate images:val --plot sweep.svg\n"
      "  elek sweep --model net.safetensors --calibrate idx:data/fashion-mnist:train --evaluate idx:data/fashion-mnist:test "
      "\\\n"
      "             --metric all --channels 0.3,0.5,0.7 --repair bn --csv sweep.csv\n"
      "  elek sweep --model net.safetensors --calibrate images:train --evaluate images:val --sensitivity \\\n"
      "             --metric std-consumer --channels 0.5 --repair bn --plot layers.svg");
  command->callback([&run, options] { run = [options] { sweep(*options); }; });
}

}  // namespace elek::cli
