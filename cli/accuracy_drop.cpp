// SPDX-License-Identifier: Apache-2.0
#include "cli/accuracy_drop.h"

#include <algorithm>
#include <utility>

#include "cli/labelled.h"
#include "core/error.h"
#include "data/sample.h"

namespace elek::cli {
namespace {

constexpr int64_t kMostImages = 5000;  // held out of the calibration data: half a point is then about two standard errors
constexpr int64_t kLeastImages = 200;  // fewer cannot tell half a point from none
constexpr int kTries = 6;              // the last one halves a step of 3 %

std::string points_text(const Estimate& lost) {
  return decimal(100 * lost.value, 2) + " +- " + decimal(100 * lost.standard_error, 2) + " points";
}

/// What a try leaves of the network.
std::string left_text(double left, bool weights) { return percent(left, 1) + (weights ? " of the weights" : " of the MACs"); }

std::string tried_text(size_t number, const TriedCut& cut, bool weights) {
  const std::string head = "try " + std::to_string(number) + " of " + std::to_string(kTries) + ": at most " +
                           left_text(1 - cut.removed, weights) + " are to be left: ";
  if (!cut.reachable) return head + "that is not possible, each group keeps a channel";
  if (cut.left == 1) return head + "nothing is removed";
  return head + left_text(cut.left, weights) + " are, and " + points_text(cut.lost) +
         " of top-1 are lost: " + (cut.is_allowed ? "allowed" : "too much");
}

/// One phase for all cuts that are tried, with a progress bar for each piece of work.
class SearchNotes final : public CutNotes {
 public:
  using CutNotes::CutNotes;
  void begin(CutPhase /*phase*/) override {}
  void end(CutPhase /*phase*/) override {}
};

/// The class with the largest logit of every image, as the dense network sees it.
std::vector<int32_t> predicted_classes(const Dense& dense, BatchSource& source, Context& context) {
  std::vector<int32_t> classes;
  Session session(dense.model, context.session_options(dense.input.batch));
  for_each_batch(session, source, 0, {}, [&classes](const Slot& slot, std::span<const float> logits) {
    const size_t width = logits.size() / static_cast<size_t>(slot.count);
    for (size_t at = 0; at < logits.size(); at += width) {
      classes.push_back(static_cast<int32_t>(top_classes(logits.subspan(at, width), 1).front().index));
    }
  });
  return classes;
}

}  // namespace

void add_hold_out(CLI::App& command, DropOptions& options) {
  command.add_option("--hold-out", options.hold_out,
                     "DATA that judges the loss; without it up to 5,000 images of --calibrate that do not calibrate. Without "
                     "labels the loss is the share of images that get another class than from the dense network");
}

void add_accuracy_drop(CLI::App& command, DropOptions& options, const std::vector<std::string>& others) {
  CLI::Option* const drop =
      command
          .add_option("--accuracy-drop", options.points,
                      "Instead of a target: find the largest cut that loses at most this many percentage points of top-1 after "
                      "the refit, on images that are held out. Six cuts are tried, by bisection")
          ->check(CLI::Range(0.0, 100.0));
  for (const std::string& name : others) {
    if (CLI::Option* const other = command.get_option_no_throw(name); other != nullptr) drop->excludes(other);
  }
  add_hold_out(command, options);
  command.get_option("--hold-out")->needs(drop);
}

HeldOut held_out(const DropOptions& options, const CutInput& input, const Model& model, const Context& context) {
  HeldOut held;
  held.word = options.hold_out.empty() ? input.calibrate : options.hold_out;
  std::shared_ptr<const Dataset> all = parse_data(held.word, model.graph.input_shape());
  held.is_labelled = all->classes() > 0;
  if (held.is_labelled) all = labelled_data(held.word, model, context.output());
  if (!options.hold_out.empty()) {
    held.data = std::move(all);
    return held;
  }
  const int64_t used = std::min(all->size(), input.max_batches == 0 ? all->size() : input.max_batches * input.batch);
  if (const int64_t left = all->size() - used; left < kLeastImages) {
    throw UsageError("of the " + with_commas(all->size()) + " images of " + held.word + ", " + with_commas(used) +
                     " calibrate, and " + with_commas(left) + " are left to judge the loss; expected at least " +
                     with_commas(kLeastImages) + ". Give more images, a smaller --max-batches, or --hold-out DATA");
  }
  held.data = shuffled_part(std::move(all), used, kMostImages, context.common().seed);
  return held;
}

void measure_held_out(HeldOut& held, const Dense& dense, Context& context) {
  held.source = context.loader(held.data, 0, held.word);
  if (!held.is_labelled) {
    std::vector<int32_t> classes = predicted_classes(dense, *held.source, context);
    held.data = with_labels(held.data, std::move(classes), dense.model.graph.node(dense.model.graph.output()).shape.elements());
    held.source = context.loader(held.data, 0, held.word);
  }
  CutNotes notes(context);
  CutOptions options;
  options.session = context.session_options(dense.input.batch);
  held.measured = measure(dense.model, {options, *dense.calibration, held.source.get(), notes}, CutWork::kDense);
}

LargestCut find_within_drop(double points, const HeldOut& held, const Dense& dense, const Evidence& evidence, CutOptions what,
                            Context& context) {
  if (distils(what.repair)) what.repair = Repair::kRefit;
  CutNotes notes(context);
  const CutRun run{what, *dense.calibration, held.source.get(), notes, held.measured.ms_an_image};
  size_t number = 0;
  return find_largest_cut(dense.model, held.measured, evidence, run, points / 100, kTries,
                          [&](const TriedCut& cut) { context.output().note(tried_text(++number, cut, what.weights)); });
}

std::string largest_text(const LargestCut& largest, double points, const HeldOut& held, bool weights) {
  const TriedCut& cut = largest.tried.at(*largest.best);
  return "largest cut found: " + left_text(cut.left, weights) + " are left, " + points_text(cut.lost) + " of top-1 lost on " +
         with_commas(held.measured.accuracy.samples) + " images of " + held.word + " held out" +
         (held.is_labelled ? "" : ", which have no labels (lost: another class than from the dense network)") + "; at most " +
         decimal(points, 2) + " were allowed";
}

UsageError no_cut_error(const LargestCut& largest, double points, bool weights) {
  std::string text = "no cut that loses at most " + decimal(points, 2) + " points was found";
  const auto smallest = std::find_if(largest.tried.rbegin(), largest.tried.rend(),
                                     [](const TriedCut& cut) { return cut.reachable && cut.left < 1; });
  if (smallest != largest.tried.rend()) {
    text += "; the smallest that was tried leaves " + left_text(smallest->left, weights) + " and loses " +
            points_text(smallest->lost);
  }
  return UsageError(text + ". Allow more, give more calibration images, or use another metric");
}

Json largest_json(const LargestCut& largest, double points, const HeldOut& held) {
  Json tried = Json::array();
  for (const TriedCut& cut : largest.tried) {
    tried.push_back({{"removed", cut.removed},
                     {"left", cut.left},
                     {"lost", cut.lost.value},
                     {"standard_error", cut.lost.standard_error},
                     {"reachable", cut.reachable},
                     {"allowed", cut.is_allowed}});
  }
  Json json = {{"allowed_points", points},   {"held_out", held.word},     {"samples", held.measured.accuracy.samples},
               {"labels", held.is_labelled}, {"tried", std::move(tried)}, {"best", nullptr}};
  if (largest.best) json["best"] = *largest.best;
  return json;
}

}  // namespace elek::cli
