// SPDX-License-Identifier: Apache-2.0
// Options and report that coverage and wanda share.
#include <charconv>

#include "cli/cut.h"
#include "cli/latency.h"
#include "cli/why.h"
#include "core/error.h"
#include "core/runtime.h"
#include "models/model_file.h"
#include "models/statistics_file.h"

namespace elek::cli {
namespace {

double share_of(const std::string& text, const std::string& option) {
  double share = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, share);
  if (error != std::errc() || rest != end || !(share >= 0 && share < 1)) {
    throw UsageError(option + " '" + text + "': expected a share from 0 up to, but not including, 1");
  }
  return share;
}

Json stages(double dense, double pruned, const std::optional<double>& repaired) {
  Json json = {{"dense", dense}, {"pruned", pruned}, {"repaired", nullptr}};
  if (repaired) json["repaired"] = *repaired;
  return json;
}

template <typename T>
Json before_after(T dense, T pruned) {
  return {{"dense", dense}, {"pruned", pruned}};
}

Json groups_json(const PrunePlan& plan) {
  Json list = Json::array();
  for (const GroupCut& group : plan.groups) {
    list.push_back({{"name", group.group}, {"channels", group.channels}, {"kept", group.keep.size()}});
  }
  for (const WeightCut& layer : plan.weights) {
    list.push_back({{"name", layer.node},
                    {"weights", layer.keep.size()},
                    {"kept", static_cast<int64_t>(layer.keep.size()) - layer.removed}});
  }
  return list;
}

std::string change(double before, double after) { return before > 0 ? percent(after / before - 1, 1) : ""; }

void print_report(const Dense& dense, const Collected& collected, const CutResult& result, const Context& context) {
  Table table({"", "dense", "just pruned", "repaired"});
  const auto stage = [&result](double (*figure)(const Accuracy&), const Accuracy& before, const std::string& name,
                               const std::function<std::string(double)>& text) {
    return std::vector<std::string>{name, text(figure(before)), text(figure(result.pruned)),
                                    result.repaired ? text(figure(*result.repaired)) : "-"};
  };
  const auto share = [](double value) { return percent(value); };
  table.add(stage([](const Accuracy& a) { return a.top1; }, dense.accuracy, "top-1", share));
  table.add(stage([](const Accuracy& a) { return a.top5; }, dense.accuracy, "top-5", share));
  table.add(
      stage([](const Accuracy& a) { return a.loss; }, dense.accuracy, "mean loss", [](double v) { return decimal(v, 4); }));
  context.output().result("\n" + table.text() + "\n");

  Table sizes({"", "dense", "pruned", "change"});
  const auto row = [&sizes](const std::string& name, int64_t before, int64_t after) {
    sizes.add({name, with_commas(before), with_commas(after), change(static_cast<double>(before), static_cast<double>(after))});
  };
  row("parameters", parameter_count(dense.model), parameter_count(result.model));
  row("parameters not zero", nonzero_parameter_count(dense.model), nonzero_parameter_count(result.model));
  row("MACs an image", macs(dense.model.graph), macs(result.model.graph));
  row("file bytes", static_cast<int64_t>(result.dense_file_bytes), static_cast<int64_t>(result.pruned_file_bytes));
  row("arena bytes", static_cast<int64_t>(dense.arena_bytes), static_cast<int64_t>(result.pruned_arena_bytes));
  context.output().result(sizes.text());
  if (collected.statistics.samples > 0) {
    context.output().result("statistics: " + readable_bytes(collected.statistics_bytes) + " held over " +
                            with_commas(collected.statistics.samples) + " images\n");
  }
  context.print_phases();
}

Json report_json(const std::string& name, const Dense& dense, const Collected& collected, const CutResult& result,
                 const std::string& out, const Json& why, const Context& context) {
  const auto optional = [&result](double Accuracy::*field) -> std::optional<double> {
    return result.repaired ? std::optional<double>((*result.repaired).*field) : std::nullopt;
  };
  return {{"command", name},
          {"model", dense.path},
          {"out", out},
          {"criterion", result.plan.criterion},
          {"target", result.plan.target},
          {"accuracy", stages(dense.accuracy.top1, result.pruned.top1, optional(&Accuracy::top1))},
          {"top5", stages(dense.accuracy.top5, result.pruned.top5, optional(&Accuracy::top5))},
          {"loss", stages(dense.accuracy.loss, result.pruned.loss, optional(&Accuracy::loss))},
          {"parameters", before_after(parameter_count(dense.model), parameter_count(result.model))},
          {"nonzero_parameters", before_after(nonzero_parameter_count(dense.model), nonzero_parameter_count(result.model))},
          {"macs", before_after(macs(dense.model.graph), macs(result.model.graph))},
          {"file_bytes", before_after(result.dense_file_bytes, result.pruned_file_bytes)},
          {"arena_bytes", before_after(dense.arena_bytes, result.pruned_arena_bytes)},
          {"statistics_bytes", collected.statistics_bytes},
          {"samples",
           {{"calibration", dense.calibration->size()}, {"evaluation", dense.accuracy.samples}, {"overlap", dense.overlap}}},
          {"equivalence",
           {{"difference", result.equivalence.difference},
            {"bound", result.equivalence.bound},
            {"samples", result.equivalence.samples}}},
          {"cuts", groups_json(result.plan)},
          {"why", why},
          {"peak_rss_bytes", context.peak_rss_bytes()},
          {"phases", context.phases_json()}};
}

void resolve_repair(CutCommand& options) {
  options.spec.repair = options.no_repair ? Repair::kNone : repair_from_name(options.repair);
}

/// Without --out nothing is cut: then the sums (of a shard of the calibration) or an explanation must be wanted.
void check_what_is_wanted(const CutCommand& options) {
  if (options.spec.out.empty() && options.save_statistics.empty() && options.why.empty()) {
    throw UsageError("--out is required: name the model file to write (--save-statistics FILE or --why NAME do without)");
  }
  if (!options.spec.out.empty() && options.input.evaluate.empty()) {
    throw UsageError("--evaluate is required: name DATA with labels to measure the cut on");
  }
  if (options.spec.steps > 1 && options.spec.sparsity.m > 0) {
    throw UsageError("--steps: an n:m pattern has no parts to go by; use --steps with --sparsity or --channels");
  }
  const bool sums_wanted = !(options.save_statistics + options.statistics).empty() || !options.why.empty();
  if (options.spec.criterion == Criterion::kRefit && sums_wanted) {
    throw UsageError("--metric refit looks at the images and has no sums: leave out --statistics, --save-statistics and --why");
  }
  if (!options.why.empty() && options.spec.steps > 1) {
    throw UsageError(
        "--why explains one look at the sums; leave out --steps (elek info --history shows what each channel scored)");
  }
}

/// The sums from --statistics, if they are what this cut asks for; errors name the file.
Statistics statistics_from(const CutCommand& options, const Model& model, const Probes& probes) {
  Statistics statistics = load_statistics(options.statistics);
  if (statistics.tap != options.spec.tap) {
    throw InputError(options.statistics + ": taken on the other tap than --tap " + options.tap + " asks for");
  }
  try {
    check_statistics(model, statistics, probes);
  } catch (const InputError& error) {
    throw InputError(options.statistics + ": " + error.what());
  }
  return statistics;
}

/// The network's own groups or layers that were asked about, under the plan that these sums give.
Json explain(const CutCommand& options, const Dense& dense, const Collected& collected, const Context& context) {
  Json list = Json::array();
  if (options.why.empty()) return list;
  const CutSpec& spec = options.spec;
  const uint64_t seed = context.common().seed;
  const PrunePlan plan = make_plan(dense, collected.statistics, spec, seed);
  for (const std::string& name : options.why) {
    const Why why = spec.weights ? why_weights(name, dense.model, collected.statistics, plan)
                                 : why_channels(name, dense.model, collected.statistics, spec.criterion, plan, seed);
    context.output().result((list.empty() ? "" : "\n") + why_text(why));
    list.push_back(why_json(why));
  }
  return list;
}

void report_collected(const std::string& name, const Dense& dense, const Collected& collected, const CutCommand& options,
                      const Json& why, const Context& context) {
  context.print_phases();
  if (!options.save_statistics.empty())
    context.output().result("\n" + options.save_statistics + ": sums over " + with_commas(collected.statistics.samples) +
                            " images of " + dense.input.calibrate + ", " + readable_bytes(collected.statistics_bytes) +
                            " held for them; nothing was cut (no --out)\n");
  context.output().json({{"command", name},
                         {"model", dense.path},
                         {"out", nullptr},
                         {"statistics", options.save_statistics},
                         {"why", why},
                         {"statistics_bytes", collected.statistics_bytes},
                         {"samples", {{"calibration", collected.statistics.samples}}},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

/// Whatever else says what goes contradicts --replay.
void add_replay(CLI::App& command, CutCommand& options) {
  CLI::Option* replay = command.add_option("--replay", options.spec.replay, "Cut as this cut network's history says");
  for (const char* name : {"--metric", "--channels", "--macs", "--sparsity", "--pattern", "--compare", "--scope", "--round-to",
                           "--ignore", "--layer", "--tap", "--save-statistics", "--statistics", "--why", "--steps"}) {
    if (CLI::Option* other = command.get_option_no_throw(name); other != nullptr) replay->excludes(other);
  }
}

}  // namespace

void add_cut_input(CLI::App& command, CutInput& input) {
  command.add_option("--model", input.model, "Model file")->required();
  command.add_option("--calibrate", input.calibrate, "DATA to watch the network on; labels are not looked at")->required();
  command.add_option("--evaluate", input.evaluate, "DATA with labels to measure accuracy on; other images")->required();
  command.add_option("--max-batches", input.max_batches, "Calibration batches at most; 0 = all")
      ->check(CLI::Range(0, 100000000))
      ->capture_default_str();
  command.add_option("--batch", input.batch, "Images a run")->check(CLI::Range(1, 65536))->capture_default_str();
}

void add_selection(CLI::App& command, Selection& selection) {
  command
      .add_option(
          "--scope", selection.scope,
          "layer: the share of each group's channels; global: of all (--metric refit: the MACs that equal shares save); auto: "
          "global for refit, layer for the others")
      ->check(CLI::IsMember({"auto", "layer", "global"}))
      ->capture_default_str();
  command
      .add_option("--round-to", selection.round_to,
                  "auto (multiples of 8 from 64 channels on), a number, or measured (where this machine's time steps up)")
      ->capture_default_str();
  command.add_option("--ignore", selection.ignore, "Layer or group that stays whole; may be repeated")->take_all();
}

void add_cut_options(CLI::App& command, CutCommand& options) {
  CLI::Option* const macs = command.add_option("--macs", options.macs, "Instead: share of the multiply-adds that may stay");
  for (const char* name : {"--channels", "--sparsity", "--pattern"}) {
    if (CLI::Option* other = command.get_option_no_throw(name); other != nullptr) macs->excludes(other);
  }
  add_cut_input(command, options.input);
  command.get_option("--evaluate")->required(false);  // where nothing is cut there is nothing to judge
  add_selection(command, options.selection);
  command.add_option("--layer", options.layers, "NAME=SHARE: another share for one group; may be repeated")->take_all();
  command
      .add_option("--repair", options.repair, "refit (weights by least squares), bn (re-estimate batch norm), refit+bn or none")
      ->capture_default_str();
  command.add_flag("--no-repair", options.no_repair, "The same as --repair none");
  command
      .add_option("--tap", options.tap,
                  "What is watched of a layer: relu, its stored value, or conv, the raw convolution as the seed did")
      ->capture_default_str();
  auto* save = command.add_option("--save-statistics", options.save_statistics, "Write the sums to this file");
  command.add_option("--statistics", options.statistics, "Read the sums from this file instead of watching")->excludes(save);
  command.add_option("--out", options.spec.out, "Model file to write; without it nothing is cut, only watched");
  command
      .add_option("--why", options.why, "Group (or layer, for weights) to explain: sums, score, rank, fate; may be repeated")
      ->take_all();
  command
      .add_option("--steps", options.spec.steps, "Rounds to reach the target in, watching again after each (and its repair)")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_replay(command, options);
  add_common(command, options.common);
}

Scope scope_of(const std::string& text, Criterion criterion) {
  if (text == "auto") return criterion == Criterion::kRefit ? Scope::kGlobal : Scope::kLayer;
  return text == "global" ? Scope::kGlobal : Scope::kLayer;
}

void resolve(const Selection& selection, Criterion criterion, ChannelTarget& target) {
  target.scope = scope_of(selection.scope, criterion);
  target.ignore = selection.ignore;
  if (selection.round_to == "auto") return;
  if (selection.round_to == "measured") return;  // needs a device: run_cut
  const char* const end = selection.round_to.data() + selection.round_to.size();
  const auto [rest, error] = std::from_chars(selection.round_to.data(), end, target.round_to);
  if (error != std::errc() || rest != end || target.round_to < 1) {
    throw UsageError("--round-to '" + selection.round_to + "': expected auto, measured or a number of channels from 1");
  }
}

void resolve(CutCommand& options) {
  resolve(options.selection, options.spec.criterion, options.spec.channels);
  options.spec.sparsity.ignore = options.selection.ignore;
  for (const std::string& text : options.layers) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) throw UsageError("--layer '" + text + "': expected NAME=SHARE");
    options.spec.channels.overrides[text.substr(0, equals)] = share_of(text.substr(equals + 1), "--layer");
  }
  if (options.tap != "relu" && options.tap != "conv") throw UsageError("--tap '" + options.tap + "': expected relu or conv");
  const Criterion criterion = options.spec.criterion;
  if (options.macs && !(*options.macs > 0 && *options.macs < 1)) {
    throw UsageError("--macs " + share_text(*options.macs) + ": expected a share of more than 0 and less than 1");
  }
  if (options.macs && options.spec.channels.scope == Scope::kGlobal && criterion != Criterion::kRefit) {
    throw UsageError(
        "--macs: what a global pool of scores leaves is known only once it has chosen; take --scope layer, or the "
        "metric refit, which spends MACs");
  }
  if (options.tap == "conv" && (options.spec.weights || criterion == Criterion::kStdConsumer ||
                                criterion == Criterion::kWanda || criterion == Criterion::kRefit)) {
    throw UsageError("--tap conv: " + (options.spec.weights ? std::string("wanda") : name_of(criterion)) +
                     " looks at what layers read, the tap relu; take --metric positions, frequency or another of that kind");
  }
  options.spec.tap = options.tap == "conv" ? Tap::kConv : Tap::kRelu;
  resolve_repair(options);
}

/// --macs, as the share of channels that comes to it.
void resolve_macs(double macs_share, const Graph& graph, ChannelTarget& target, const Output& output) {
  const std::vector<Group> groups = find_groups(graph);
  const auto dense = static_cast<double>(macs(graph));
  target.share = share_for_macs(groups, graph, target, macs_share * dense);
  output.note("--macs " + share_text(macs_share) + ": as with --channels " + share_text(target.share) + ", which leaves " +
              percent(macs_of_equal_shares(groups, graph, target) / dense, 1) + " of the MACs if every group gives as much");
}

void run_cut(const std::string& name, CutCommand options) {
  resolve(options);
  check_what_is_wanted(options);
  if (options.spec.out.empty()) options.input.evaluate.clear();
  Context context(options.common);
  if (!options.metric_note.empty()) context.output().note(options.metric_note);
  if (options.selection.round_to == "measured") options.spec.channels.round = measured_rounding(context);
  if (!options.spec.out.empty()) check_output_path(options.spec.out);
  if (!options.save_statistics.empty()) check_output_path(options.save_statistics);
  Dense dense = load_dense(options.input, context);
  if (options.macs) resolve_macs(*options.macs, dense.model.graph, options.spec.channels, context.output());
  const bool by_cost = options.spec.criterion == Criterion::kRefit && options.spec.replay.empty();
  if (by_cost) add_refit_costs(dense, context);
  const Probes probes = options.spec.replay.empty() ? probes_of(options.spec, dense.model.graph) : Probes{};
  if (probes.empty() && !(options.save_statistics + options.statistics).empty()) {
    throw UsageError("--statistics and --save-statistics: " + name_of(options.spec.criterion) + " watches nothing");
  }
  Collected collected;
  if (!options.statistics.empty()) {
    collected.statistics = statistics_from(options, dense.model, probes);
  } else if (!probes.empty()) {
    collected = collect(dense, probes, context);
    if (!options.save_statistics.empty()) save_statistics(collected.statistics, options.save_statistics);
  }
  const Json why = explain(options, dense, collected, context);
  if (options.spec.out.empty()) return report_collected(name, dense, collected, options, why, context);
  const CutResult result = cut(dense, collected, options.spec, context);
  print_report(dense, collected, result, context);
  context.output().result("\n" + options.spec.out + ": " + result.plan.criterion + ", " + result.plan.target + "\n");
  const std::optional<Latencies> latencies = measure_latencies(dense.model, result.model, context);
  context.output().result(latency_text(latencies) + "\n");
  Json json = report_json(name, dense, collected, result, options.spec.out, why, context);
  json["latency_ms"] = nullptr;
  if (latencies) json["latency_ms"] = before_after(latency_json(latencies->dense), latency_json(latencies->pruned));
  context.output().json(json);
}

}  // namespace elek::cli
