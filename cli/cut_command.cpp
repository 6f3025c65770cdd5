// SPDX-License-Identifier: Apache-2.0
// The run of coverage and wanda: checks the options, gets the sums (from images or a file), explains, cuts, and prints the
// report.
#include "cli/cut_command.h"

#include <charconv>

#include "cli/advice.h"
#include "cli/budget.h"
#include "cli/cut_report.h"
#include "cli/latency.h"
#include "cli/measured_rounding.h"
#include "cli/network_report.h"
#include "cli/why.h"
#include "core/error.h"
#include "core/paired.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "models/model_file.h"
#include "prune/early_checks.h"
#include "prune/fit_budget.h"
#include "prune/replay.h"
#include "prune/score.h"
#include "prune/select.h"

namespace elek::cli {
namespace {

double share_of(const std::string& text, const std::string& option) {
  double share = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, share);
  if (error != std::errc() || rest != end || !(share >= 0 && share < 1)) {
    throw UsageError(option + " '" + text + "': expected a share of at least 0 and less than 1");
  }
  return share;
}

/// Converts --repair, --no-repair, --tap, --layer, --scope, --round-to and --ignore to the recipe's options. UsageError naming
/// the option.
void resolve(CutCommand& options) {
  CutOptions& what = options.what;
  resolve(options.selection, what.channels);
  what.scope = scope_of(options.selection.scope);
  what.sparsity.ignore = options.selection.ignore;
  for (const std::string& text : options.layers) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) throw UsageError("--layer '" + text + "': expected NAME=SHARE");
    const bool added =
        what.channels.overrides.emplace(text.substr(0, equals), share_of(text.substr(equals + 1), "--layer")).second;
    if (!added) throw UsageError("--layer " + text.substr(0, equals) + " is given twice; give one share");
  }
  if (options.tap != "relu" && options.tap != "conv") throw UsageError("--tap '" + options.tap + "': expected relu or conv");
  what.tap = options.tap == "conv" ? Tap::kConv : Tap::kRelu;
  check_budget(options.budget);
  if (what.tap == Tap::kConv && (what.weights || !what.criterion->traits().raw_convolutions)) {
    throw UsageError("--tap conv cannot be used with " + (what.weights ? std::string("wanda") : what.criterion->name()) +
                     ", which needs the stored values. Use --tap relu, or a metric such as positions or frequency");
  }
  what.repair = options.no_repair ? Repair::kNone : repair_from_name(options.repair);
  what.refit_target = refit_target_from_name(options.refit_target);
  if (!options.dry_run) return;
  if (distils(what.repair)) what.repair = Repair::kRefit;
  options.out.clear();
}

bool cuts(const CutCommand& options) { return options.dry_run || !options.out.empty(); }

/// Nothing is cut without --out or --dry-run: then the user must want the sums (of a shard of the calibration images) or an
/// explanation.
void check_what_is_wanted(const CutCommand& options) {
  if (options.out.empty() && !options.dry_run && options.save_statistics.empty() && options.why.empty()) {
    throw UsageError(
        "--out is required: the model file to write (not needed with --dry-run, --save-statistics FILE or --why NAME)");
  }
  if (options.dry_run && !(options.save_statistics.empty() && options.common.trace.empty())) {
    throw UsageError("--dry-run writes no file; leave out --save-statistics and --trace");
  }
  if (cuts(options) && options.input.evaluate.empty()) {
    throw UsageError("--evaluate is required: DATA with labels, to measure the accuracy of the cut network");
  }
  check_report_paths("--report", options.report);
  if (!options.report.empty() && options.out.empty()) throw UsageError("--report needs --out: it reports on the cut network");
  if (!options.quantize.empty() && !cuts(options)) {
    throw UsageError("--quantize needs --out: the model file to write");
  }
  if (options.drop.points && !cuts(options)) throw UsageError("--accuracy-drop needs --out or --dry-run: it makes cuts");
  if (options.what.steps > 1 && options.what.sparsity.m > 0) {
    throw UsageError("--steps cannot be used with --pattern; use it with --sparsity or --channels");
  }
  if (!options.budget.measured().empty()) {
    if (options.what.steps > 1) {
      throw UsageError("--steps cannot be used with --file-bytes, --memory or --latency; use it with --macs or --params");
    }
    if (!options.quantize.empty()) {
      throw UsageError(
          "--quantize cannot be used with --file-bytes, --memory or --latency, which are counted in f32; use --macs "
          "or --params, and see elek memory of the result");
    }
  }
  const bool sums_wanted = !(options.save_statistics + options.statistics).empty() || !options.why.empty();
  if (sums_wanted && !options.what.weights && options.what.criterion->needs_images()) {
    throw UsageError("--metric " + options.what.criterion->name() +
                     " needs the images and uses no sums; leave out --statistics, --save-statistics and --why");
  }
  if (!options.why.empty() && options.what.steps > 1) {
    throw UsageError(
        "--why explains one choice, --steps makes several; leave out one of them (after the cut, elek info --history shows the "
        "scores)");
  }
}

/// The sums from --statistics, if they fit this cut. Errors name the file.
Statistics statistics_from(const CutCommand& options, const Model& model) {
  const Probes probes = probes_of(options.what, model.graph);
  Statistics statistics = load_statistics(options.statistics);
  if (statistics.tap != options.what.tap) {
    throw InputError(options.statistics + ": expected sums of --tap " + options.tap +
                     ", found sums of the other tap; change --tap or take the sums again");
  }
  try {
    check_statistics(model, statistics, probes);
  } catch (const InputError& error) {
    throw InputError(options.statistics + ": " + error.what());
  }
  return statistics;
}

/// The criterion's evidence: costs or sums over the calibration images, or sums from --statistics. Sums are saved to
/// --save-statistics.
Evidence evidence_for(const CutCommand& options, const CutRun& run, const Model& model) {
  if (!options.statistics.empty()) return statistics_from(options, model);
  Evidence evidence = gather(model, run);
  if (!options.save_statistics.empty()) save_statistics(evidence.statistics, options.save_statistics);
  return evidence;
}

/// Explains the groups or layers that the user named, under the plan that these sums give.
Json explain(const std::vector<std::string>& names, const Model& model, const Evidence& evidence, const CutOptions& what,
             const Output& output) {
  Json list = Json::array();
  if (names.empty()) return list;
  const PrunePlan plan = make_plan(model, evidence, what);
  for (const std::string& name : names) {
    const Why why = what.weights ? why_weights(name, model, evidence.statistics, plan)
                                 : why_channels(name, model, evidence, *what.criterion, plan, what.seed);
    output.result((list.empty() ? "" : "\n") + why_text(why));
    list.push_back(why_json(why));
  }
  return list;
}

void report_collected(const std::string& name, const Dense& dense, const Evidence& evidence, const CutCommand& options,
                      const Json& why, const Context& context) {
  const Statistics& statistics = evidence.statistics;
  context.print_phases();
  if (!options.save_statistics.empty()) {
    context.output().result("\n" + options.save_statistics + ": sums over " + with_commas(statistics.samples) + " images of " +
                            dense.input.calibrate + ", " + readable_bytes(evidence.statistics_bytes) +
                            " of memory for the sums; nothing was cut (no --out)\n");
  }
  context.output().json({{"command", name},
                         {"model", dense.path},
                         {"out", nullptr},
                         {"statistics", options.save_statistics},
                         {"why", why},
                         {"statistics_bytes", evidence.statistics_bytes},
                         {"samples", {{"calibration", statistics.samples}}},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

/// What would go, group by group.
std::string plan_text(const PrunePlan& plan) {
  Table table({"", "now", "kept", "gone"});
  const auto row = [&table](const std::string& name, int64_t now, int64_t kept) {
    table.add(
        {name, with_commas(now), with_commas(kept), percent(static_cast<double>(now - kept) / static_cast<double>(now), 1)});
  };
  for (const GroupCut& cut : plan.groups) row(cut.group, cut.channels, std::ssize(cut.keep));
  for (const WeightCut& cut : plan.weights) row(cut.node, std::ssize(cut.keep), std::ssize(cut.keep) - cut.removed);
  return table.text();
}

/// If the cut costs much on the evaluation images: how much, and what may help. Otherwise empty.
std::string loss_text(const Dense& dense, const CutReport& report, const CutCommand& options) {
  constexpr double kMuch = 0.01;  // of all images
  const Measured& now = report.repaired ? *report.repaired : *report.pruned;
  const double lost = dense.measured.accuracy.top1 - now.accuracy.top1;
  const Estimate by = paired_difference({{now.hits.begin(), now.hits.end()}, {}},
                                        {{dense.measured.hits.begin(), dense.measured.hits.end()}, {}});
  if (lost <= kMuch || !by.is_significant()) return "";
  std::string text = "This cut costs " + decimal(100 * lost, 2) + " +- " + decimal(100 * by.standard_error, 2) +
                     " points of top-1. What may help: a smaller cut; more calibration images (" +
                     with_commas(dense.calibration->samples()) + " now; --max-batches)";
  if (!report.repaired) text += "; a repair";
  if (!report.distilled && !options.dry_run) text += "; --repair distill";
  if (!options.out.empty()) {
    text +=
        "; labels or more training: elek tune --model " + options.out + " --teacher " + dense.path + " --data DATA --out FILE";
  }
  return text + "\n";
}

/// Puts the largest cut within --accuracy-drop into the target.
LargestCut choose_by_drop(HeldOut& held, const Dense& dense, const Evidence& evidence, double points, CutOptions& what,
                          Context& context) {
  measure_held_out(held, dense, context);
  LargestCut largest = find_within_drop(points, held, dense, evidence, what, context);
  if (!largest.best) throw no_cut_error(largest, points, what.weights);
  what = removing(what, dense.model, largest.tried[*largest.best].removed);
  return largest;
}

void cut_and_report(const std::string& name, const Dense& dense, const Evidence& evidence, CutOptions what,
                    const CutCommand& options, HeldOut& held, const Json& why, Context& context) {
  const std::string& out = options.out;
  std::optional<LargestCut> largest;
  if (options.drop.points) largest = choose_by_drop(held, dense, evidence, *options.drop.points, what, context);
  const Storage storage = options.quantize.empty() ? Storage::kF32 : Storage::kInt8;
  const CutResult result = cut_to_file(dense, evidence, what, storage, out, context);
  print_report(dense, result, context);
  const CutReport& report = result.report;
  if (options.dry_run) context.output().result("\n" + plan_text(report.plan));
  context.output().result("\n" + (out.empty() ? "nothing is written (--dry-run)" : out) + ": " + report.plan.criterion + ", " +
                          report.plan.target + ", repair " + report.repair + "\n");
  const std::optional<Latencies> latencies =
      time_in_turns(dense.model, result.report.model, context.session_options(1), context.common().seed);
  context.output().result(latency_text(latencies) + "\n");
  const std::optional<Budget>& budget = what.channels.budget;
  Json spent;
  if (budget && (latencies || budget->unit != BudgetUnit::kLatency)) {
    const std::optional<double> left = used(report.model, budget->unit, context);
    const double now = left ? *left : latencies->pruned.p50 * 1e3;
    const double whole = left ? *used(dense.model, budget->unit, context) : latencies->dense.p50 * 1e3;
    context.output().result(budget_text(*budget, what.channels, now, whole) + "\n");
    if (!left) {
      context.output().result("the middle 80 % of the runs took " + decimal(latencies->pruned.p10, 3) + " to " +
                              decimal(latencies->pruned.p90, 3) + " ms\n");
    }
    spent = budget_json(*budget, now);
  }
  if (largest) context.output().result(largest_text(*largest, *options.drop.points, held, what.weights) + "\n");
  context.output().result(loss_text(dense, report, options));
  Json json = report_json(name, dense, result, out, why, context);
  json["dry_run"] = options.dry_run;
  json["budget"] = spent;
  json["accuracy_drop"] = largest ? largest_json(*largest, *options.drop.points, held) : Json();
  json["latency_ms"] = nullptr;
  if (latencies) json["latency_ms"] = before_after(latency_json(latencies->dense), latency_json(latencies->pruned));
  ReportRequest request;
  request.model = out;
  request.beside = dense.path;
  request.overlap = dense.overlap;
  report_on(std::move(request), options.report, context);
  context.output().json(json);
}

/// The same for a budget that is measured on cut networks.
void check_budget_fits(const ChannelTarget& target, const Model& model, const std::string& path, Context& context) {
  try {
    check_fits(model, target, context.memory());
  } catch (const RemovesNothing&) {
    throw UsageError("the target " + target_text(target) + " removes nothing from " + path +
                     ", which uses no more than that already; allow less");
  }
}

/// What the network shows to be impossible: names, shares, and files that are read later. Costs no pass over images.
void check_against(const CutCommand& options, const Model& model, Context& context) {
  CutOptions what = options.what;
  what.session = context.session_options(options.input.batch);
  what.memory_left = [&context] { return context.memory_left(); };
  if (!options.replay.empty()) {
    (void)replay_plan(load_model(options.replay, context.memory()), model, options.replay, context.memory());
    return;
  }
  if (probes_of(what, model.graph).empty() && !(options.save_statistics + options.statistics).empty()) {
    throw UsageError("--metric " + what.criterion->name() + " uses no sums; leave out --statistics and --save-statistics");
  }
  if (cuts(options)) {
    if (!what.weights) {
      check_channels(what.channel_target(), model.graph, options.input.model);
      check_budget_fits(what.channel_target(), model, options.input.model, context);
    } else {
      check_target(model.graph, what.sparsity);
      if (what.sparsity.m == 0 && what.sparsity.sparsity == 0)
        throw removes_nothing_error("sparsity=0", options.input.model, true);
    }
  }
  try {
    for (const std::string& name : options.why) check_why(name, model, what);
  } catch (const UsageError& error) {
    throw UsageError("--why: " + message_with_advice(error));
  }
  if (!options.statistics.empty()) (void)statistics_from(options, model);
  check_memory(model, what);
}

}  // namespace

void check_channels(const ChannelTarget& target, const Graph& graph, const std::string& path) {
  const std::vector<Group> groups = find_groups(graph);
  check_target(groups, graph, target);
  if (removes_nothing(groups, graph, target)) throw removes_nothing_error(target_text(target), path, false);
}

void run_cut(const std::string& name, CutCommand options) {
  resolve(options);
  check_what_is_wanted(options);
  if (!cuts(options)) options.input.evaluate.clear();
  Paths paths = input_paths(options.input);
  paths.reads("--statistics", options.statistics)
      .reads("--replay", options.replay)
      .reads_data("--hold-out", options.drop.hold_out)
      .writes("--out", options.out)
      .writes("--save-statistics", options.save_statistics)
      .writes("--trace", options.common.trace);
  for (const std::string& path : options.report) paths.writes("--report", path);
  paths.check();
  Context context(options.common);
  if (!options.metric_note.empty()) context.output().note(options.metric_note);
  if (options.selection.round_to == "measured") options.what.channels.round = measured_rounding(context);
  HeldOut held;
  const Dense dense = load_dense(options.input, context, [&](const Model& model) {
    if (options.drop.points) held = held_out(options.drop, options.input, model, context);
    options.what.channels.budget = budget_of(options.budget, options.input, options.what, model, context);
    check_against(options, model, context);
  });
  CutOptions what = options_for(options.what, dense, context);
  if (!options.replay.empty()) {
    what.replay = [&] { return load_model(options.replay, context.memory()); };
    what.replay_name = options.replay;
  }
  CutNotes notes(context);
  const Evidence evidence = evidence_for(options, run_of(dense, what, notes), dense.model);
  const Json why = explain(options.why, dense.model, evidence, what, context.output());
  if (!cuts(options)) return report_collected(name, dense, evidence, options, why, context);
  cut_and_report(name, dense, evidence, what, options, held, why, context);
}

}  // namespace elek::cli
