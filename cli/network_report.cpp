// SPDX-License-Identifier: Apache-2.0
#include "cli/network_report.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <utility>

#include "cli/command_line.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/file.h"
#include "core/processor.h"
#include "core/runtime.h"
#include "engine/estimate.h"
#include "engine/step_rounds.h"
#include "lab/memory_map.h"
#include "lab/report_charts.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

/// A network of the report, with its file.
struct Network {
  Model model;
  size_t file_bytes = 0;
};

Network load(const std::string& path, Context& context) {
  return {load_model(path, context.memory()), std::filesystem::file_size(path)};
}

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// All cuts of the history by group: the count before the first and after the last.
std::vector<KeptBar> kept_bars(const History& history) {
  std::vector<KeptBar> bars;
  for (const HistoryEntry& entry : history) {
    for (const Cut& cut : entry.cuts) {
      auto found = std::find_if(bars.begin(), bars.end(), [&](const KeptBar& bar) { return bar.name == cut.name; });
      if (found == bars.end()) found = bars.insert(bars.end(), {cut.name, 0, static_cast<double>(cut.before)});
      found->kept = static_cast<double>(cut.before - cut.removed);
    }
  }
  return bars;
}

std::string range_of(const Cut& cut, bool of_kept) {
  std::vector<double> scores;
  for (size_t c = 0; c < cut.scores.size(); ++c) {
    if (std::binary_search(cut.kept.begin(), cut.kept.end(), static_cast<int64_t>(c)) == of_kept)
      scores.push_back(cut.scores[c]);
  }
  if (scores.empty()) return "-";
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  return significant(*low) + " to " + significant(*high);
}

const Evaluation* last_evaluation(const History& history) {
  for (auto entry = history.rbegin(); entry != history.rend(); ++entry) {
    if (entry->evaluation) return &*entry->evaluation;
  }
  return nullptr;
}

VerdictFacts facts_of(const ReportRequest& request, const Network& network, const Network* beside) {
  const Model& model = network.model;
  VerdictFacts f;
  f.classes = model.graph.node(model.graph.output()).shape.elements();
  if (request.accuracy) {
    f.samples = request.accuracy->samples;
    f.top1 = request.accuracy->top1;
    if (request.dense_accuracy) f.dense = request.dense_accuracy->top1;
  } else if (const Evaluation* e = last_evaluation(model.history)) {
    f.samples = e->samples;
    f.top1 = e->saved();
    if (e->pruned) f.dense = e->dense;
  }
  f.macs_after = static_cast<double>(macs(model.graph));
  f.bytes_after = static_cast<double>(network.file_bytes);
  f.macs_before = beside != nullptr ? static_cast<double>(macs(beside->model.graph)) : f.macs_after;
  if (beside != nullptr) f.bytes_before = static_cast<double>(beside->file_bytes);
  f.zero_weights = 1 - static_cast<double>(nonzero_parameter_count(model)) /
                           static_cast<double>(std::max<int64_t>(1, parameter_count(model)));
  f.changed = !model.quantization.empty();
  f.overlap = request.overlap;
  for (const HistoryEntry& entry : model.history) {
    f.changed = f.changed || !entry.cuts.empty();
    if (entry.calibration_samples > 0) f.calibration_samples = entry.calibration_samples;
    for (const Assumption& a : entry.assumptions) {
      if (a.source == "assumed") f.assumptions.push_back(a.what + ": " + a.value);
    }
  }
  return f;
}

ReportSection accuracy_section(const ReportRequest& request, const VerdictFacts& facts, const History& history) {
  ReportSection section{"Accuracy", {}, {}, {}};
  std::vector<StageBar> stages;
  int64_t samples = facts.samples;
  const auto stage = [&](const std::string& name, double value) {
    stages.push_back({name, value, standard_error(value, samples)});
  };
  if (request.accuracy) {
    if (facts.dense) stage("dense", *facts.dense);
    stage("this network", *facts.top1);
    section.paragraphs.push_back("Measured for this report on " + with_commas(samples) + " images.");
  } else if (const Evaluation* e = last_evaluation(history)) {
    if (e->pruned) stage("dense", e->dense);
    if (e->pruned) stage(e->repaired ? "just pruned" : "pruned", *e->pruned);
    if (e->repaired) stage("repaired", *e->repaired);
    if (!e->pruned) stage("this network", e->dense);
    section.paragraphs.push_back("From the network's history: measured on " + with_commas(samples) + " images of " + e->data +
                                 ", all stages on the same images.");
  } else {
    section.paragraphs.emplace_back("It was not measured.");
    return section;
  }
  section.paragraphs.emplace_back(
      "The error is one standard error of a share of so many images. The stages were measured on the "
      "same images, so their differences are known better than that.");
  ReportTable table{"Top-1 accuracy", {{"", "top-1", "standard error", "against the first"}}};
  for (const StageBar& bar : stages) {
    table.rows.push_back({bar.name, percent(bar.value), "± " + percent(bar.error),
                          &bar == stages.data() ? "" : decimal(100 * (bar.value - stages.front().value), 2) + " points"});
  }
  section.tables.push_back(std::move(table));
  std::string text;
  for (const StageBar& bar : stages) text += (text.empty() ? "" : ", ") + bar.name + " " + percent(bar.value);
  section.figures.push_back({"Top-1 accuracy at each stage", stages_svg("Top-1 accuracy at each stage", stages), text + "."});
  return section;
}

ReportSection work_section(const History& history) {
  ReportSection section{"What was done", {}, {}, {}};
  if (history.empty()) {
    section.paragraphs.emplace_back("The file has no history: nothing was changed since it was imported.");
    return section;
  }
  ReportTable table{"Every step, in order", {{"step", "by", "target", "repair", "watched", "repaired over", "elek"}}};
  const auto images = [](int64_t samples, const std::string& data) {
    return data.empty() ? std::string("-") : with_commas(samples) + " of " + data;
  };
  for (const HistoryEntry& entry : history) {
    table.rows.push_back({entry.action, entry.criterion.empty() ? "-" : entry.criterion,
                          entry.target.empty() ? "-" : entry.target, entry.repair.empty() ? "-" : entry.repair,
                          images(entry.calibration_samples, entry.calibration), images(entry.repair_samples, entry.repair_data),
                          entry.version});
  }
  section.tables.push_back(std::move(table));
  return section;
}

std::optional<ReportSection> kept_section(const History& history) {
  const std::vector<KeptBar> bars = kept_bars(history);
  if (bars.empty()) return std::nullopt;
  ReportSection section{"What was kept, and why", {}, {}, {}};
  section.paragraphs.emplace_back(
      "Channels that a residual sum ties go together: each row is such a group, named after its first "
      "value, or a layer whose weights were masked. Those with the lowest scores went.");
  const auto kept =
      std::accumulate(bars.begin(), bars.end(), 0.0, [](double sum, const KeptBar& bar) { return sum + bar.kept; });
  const auto before =
      std::accumulate(bars.begin(), bars.end(), 0.0, [](double sum, const KeptBar& bar) { return sum + bar.before; });
  const std::string title = "Kept, of what there was";
  section.figures.push_back({title, kept_bars_svg(title, bars),
                             with_commas(static_cast<int64_t>(kept)) + " of " + with_commas(static_cast<int64_t>(before)) +
                                 " were kept in " + std::to_string(bars.size()) + " groups."});
  for (const HistoryEntry& entry : history) {
    if (entry.cuts.empty()) continue;
    ReportTable table{entry.action + " by " + entry.criterion,
                      {{"group", "before", "kept", "scores of the kept", "scores of the removed"}}};
    for (const Cut& cut : entry.cuts) {
      table.rows.push_back({cut.name, with_commas(cut.before), with_commas(cut.before - cut.removed), range_of(cut, true),
                            range_of(cut, false)});
    }
    section.tables.push_back(std::move(table));
  }
  return section;
}

ReportSection size_section(const Network& network, const Network* beside, const SessionEstimate& plan,
                           const SessionEstimate* dense_plan) {
  ReportSection section{"Size and work", {}, {}, {}};
  ReportTable table{"Of one image, at batch 1", {{"", "this network"}}};
  if (beside != nullptr) table.rows.front().insert(table.rows.front().end(), {"dense", "change"});
  const auto row = [&](const std::string& name, auto of, const Network* dense) {
    const int64_t now = of(network);
    std::vector<std::string> cells{name, with_commas(now)};
    if (dense != nullptr) {
      const int64_t before = of(*dense);
      cells.push_back(with_commas(before));
      cells.push_back(before > 0 ? percent(static_cast<double>(now) / static_cast<double>(before) - 1, 1) : "");
    }
    table.rows.push_back(std::move(cells));
  };
  row(
      "multiply-adds", [](const Network& n) { return macs(n.model.graph); }, beside);
  row(
      "parameters", [](const Network& n) { return parameter_count(n.model); }, beside);
  row(
      "nonzero parameters", [](const Network& n) { return nonzero_parameter_count(n.model); }, beside);
  row(
      "file bytes", [](const Network& n) { return static_cast<int64_t>(n.file_bytes); }, beside);
  const auto memory = [&](const std::string& name, size_t SessionMemory::*bytes) {
    const auto now = static_cast<int64_t>(plan.memory.*bytes);
    std::vector<std::string> cells{name, with_commas(now)};
    if (dense_plan != nullptr) {
      const auto before = static_cast<int64_t>(dense_plan->memory.*bytes);
      cells.push_back(with_commas(before));
      cells.push_back(before > 0 ? percent(static_cast<double>(now) / static_cast<double>(before) - 1, 1) : "");
    }
    table.rows.push_back(std::move(cells));
  };
  memory("bytes of packed weights", &SessionMemory::weights_bytes);
  memory("bytes of the arena", &SessionMemory::arena_bytes);
  section.tables.push_back(std::move(table));
  return section;
}

ReportSection memory_section(const std::string& name, const SessionEstimate& plan) {
  ReportSection section{"Memory", {}, {}, {}};
  const std::string step =
      plan.plan.peak_step >= 0 ? plan.program.steps[static_cast<size_t>(plan.plan.peak_step)].node.node.name : "";
  section.paragraphs.push_back("All activations and workspaces of an image lie in one block, the arena, of " +
                               bytes_text(plan.memory.arena_bytes) + ". No placement needs less than " +
                               bytes_text(plan.memory.lower_bound_bytes) + " for this order of the steps. The step " + step +
                               " needs most.");
  const Trace trace = trace_of(plan.program);
  std::vector<Replay> replays;
  for (const Strategy s : {Strategy::kSeparate, Strategy::kArena}) replays.push_back(replay(trace, s));
  const MapOptions map{name + ", one image", plan.memory.lower_bound_bytes, plan.plan.peak_step};
  section.figures.push_back(
      {"Where each tensor lies: each in its own place, and in the arena", memory_map_svg(trace, replays, map),
       "The arena of " + bytes_text(plan.memory.arena_bytes) + " beside memory in which nothing is used again."});
  return section;
}

ReportSection speed_section(const std::optional<Latencies>& latency, const std::vector<StepRow>& rows, const Peaks& peaks,
                            const Context& context, const SessionOptions& options) {
  ReportSection section{"Speed", {}, {}, {}};
  section.paragraphs.push_back("Measured for this report on " + processor_name() + ", " + to_string(options.device) + ", " +
                               std::to_string(used_threads(context.common().threads)) +
                               " threads, batch 1. Times are worth something on this machine only.");
  if (latency) {
    ReportTable table{"One image, both networks in turns", {{"", "median", "10 to 90 % of the runs"}}};
    const auto row = [&](const std::string& name, const Latency& l) {
      table.rows.push_back({name, decimal(l.p50, 3) + " ms", decimal(l.p10, 3) + " to " + decimal(l.p90, 3) + " ms"});
    };
    row("dense", latency->dense);
    row("this network", latency->pruned);
    section.tables.push_back(std::move(table));
  }
  double all = 0;
  for (const StepRow& row : rows) all += row.us;
  std::vector<RooflinePoint> points;
  std::vector<const StepRow*> slowest;
  for (const StepRow& row : rows) {
    if (row.work.flops > 0 && row.work.bytes() > 0) {
      points.push_back({row.step->node.node.name, row.work.flops / row.work.bytes(), row.flops_per_second(), row.us / all});
    }
    slowest.push_back(&row);
  }
  std::stable_sort(slowest.begin(), slowest.end(), [](const StepRow* a, const StepRow* b) { return a->us > b->us; });
  slowest.resize(std::min<size_t>(slowest.size(), 10));
  ReportTable table{"The steps that take most of the time",
                    {{"step", "kernel", "ms", "% of the time", "GFLOP/s", "of the peak"}}};
  for (const StepRow* row : slowest) {
    table.rows.push_back(
        {row->step->node.node.name, row->step->kernel, decimal(row->us / 1e3, 3), decimal(100 * row->us / all, 1),
         row->work.flops > 0 ? decimal(row->flops_per_second() / 1e9, 1) : "-", percent(row->share_of_peak(), 0)});
  }
  section.tables.push_back(std::move(table));
  if (!points.empty() && !peaks.bandwidths.empty()) {
    const double memory = peaks.bandwidths.back().copy;
    section.figures.push_back(
        {"Roofline: each circle is a step, as large as its share of the time",
         roofline_svg("Roofline", points, peaks.flops, memory),
         "The roofs: " + decimal(peaks.flops / 1e9, 0) + " GFLOP/s of computing, " + decimal(memory / 1e9, 0) +
             " GB/s of memory for data larger than the caches. A circle may lie above them: Winograd does fewer operations "
             "than the definition that is counted, and small data stays in the caches."});
  }
  return section;
}

ReportSection provenance_section(const ReportRequest& request, const Network& network, const Network* beside) {
  ReportSection section{"Provenance", {}, {}, {}};
  ReportTable table{"Files and hashes", {{"", "", ""}}};
  table.rows.front() = {"network", "file", "hash of the model"};
  const auto row = [&](const std::string& name, const std::string& path, const Model& model) {
    table.rows.push_back({name, path, to_hex(hash(model))});
  };
  row("this network", request.model, network.model);
  if (beside != nullptr) row("dense", request.beside, beside->model);
  section.tables.push_back(std::move(table));
  ReportTable imports{"How the network was read when it was imported", {{"what", "value", "from"}}};
  for (const HistoryEntry& entry : network.model.history) {
    for (const Assumption& a : entry.assumptions) imports.rows.push_back({a.what, a.value, a.source});
  }
  if (imports.rows.size() > 1) section.tables.push_back(std::move(imports));
  return section;
}

std::string made_by(const History& history) {
  for (auto entry = history.rbegin(); entry != history.rend(); ++entry) {
    if (!entry->version.empty()) return entry->version;
  }
  return ELEK_VERSION;
}

}  // namespace

void add_report_option(CLI::App& command, std::vector<std::string>& paths) {
  command.add_option("--report", paths, "Write a report on the result: .html, .md or .json; may be given several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void check_report_paths(const std::string& option, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (path.ends_with(".html") || path.ends_with(".md") || path.ends_with(".json")) continue;
    throw UsageError(option + " " + path + ": expected a name that ends in .html, .md or .json");
  }
}

Report network_report(const ReportRequest& request, Context& context) {
  const Network network = load(request.model, context);
  std::optional<Network> beside;
  if (!request.beside.empty()) beside = load(request.beside, context);
  const Network* const dense = beside ? &*beside : nullptr;
  SessionOptions options = context.session_options(1);
  if (!network.model.quantization.empty()) options.precision = Precision::kInt8;
  SessionOptions dense_options = context.session_options(1);
  const SessionEstimate plan = estimate_memory(network.model, options);
  std::optional<SessionEstimate> dense_plan;
  if (dense != nullptr) dense_plan = estimate_memory(dense->model, dense_options);
  VerdictFacts facts = facts_of(request, network, dense);
  std::optional<ReportSection> speed;
  if (request.measure) {
    if (dense != nullptr) facts.latency = time_in_turns(dense->model, network.model, dense_options, context.common().seed);
    const Peaks peaks = measure_peaks(options);
    Session session(network.model, options);
    StepRounds rounds(session, context.common().seed);
    for (const EnoughRounds enough(0.5); !enough(rounds.count());) rounds.take();
    speed = speed_section(facts.latency, rows_of(session, rounds.medians(), peaks), peaks, context, options);
  }
  Report report;
  report.title = file_name(request.model) + ": a report by elek";
  report.verdict = verdict_text(facts);
  report.warnings = warnings_of(facts);
  report.command = request.command;
  const History& history = network.model.history;
  report.sections.push_back(accuracy_section(request, facts, history));
  report.sections.push_back(work_section(history));
  if (auto kept = kept_section(history)) report.sections.push_back(std::move(*kept));
  report.sections.push_back(size_section(network, dense, plan, dense_plan ? &*dense_plan : nullptr));
  if (speed) report.sections.push_back(std::move(*speed));
  report.sections.push_back(memory_section(file_name(request.model), plan));
  report.sections.push_back(provenance_section(request, network, dense));
  report.facts = {{"library_name", "elek"},
                  {"library_version", made_by(history)},
                  {"pipeline_tag", "image-classification"},
                  {"model_name", file_name(request.model)},
                  {"architecture", network.model.architecture},
                  {"model_hash", to_hex(hash(network.model))},
                  {"input", to_string(network.model.graph.input_shape())},
                  {"classes", std::to_string(facts.classes)},
                  {"parameters", std::to_string(parameter_count(network.model))},
                  {"macs", std::to_string(macs(network.model.graph))}};
  if (facts.top1) report.facts.emplace_back("top1", decimal(*facts.top1, 4));
  if (facts.top1) report.facts.emplace_back("evaluation_images", std::to_string(facts.samples));
  return report;
}

Json report_json(const Report& report) {
  Json sections = Json::array();
  for (const ReportSection& section : report.sections) {
    Json tables = Json::array(), figures = Json::array();
    for (const ReportTable& table : section.tables) tables.push_back({{"title", table.title}, {"rows", table.rows}});
    for (const ReportFigure& figure : section.figures) figures.push_back({{"title", figure.title}, {"text", figure.text}});
    sections.push_back(
        {{"title", section.title}, {"paragraphs", section.paragraphs}, {"tables", tables}, {"figures", figures}});
  }
  Json facts = Json::object();
  for (const auto& [name, value] : report.facts) facts[name] = value;
  return {{"command", "report"}, {"title", report.title}, {"verdict", report.verdict}, {"warnings", report.warnings},
          {"facts", facts},      {"sections", sections},  {"made_by", report.command}};
}

void write_report(const Report& report, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    write_whole_file(path, path.ends_with(".html") ? report_html(report)
                           : path.ends_with(".md") ? report_markdown(report)
                                                   : report_json(report).dump(2) + "\n");
  }
}

void report_on(ReportRequest request, const std::vector<std::string>& paths, Context& context) {
  if (paths.empty()) return;
  request.command = command_line();
  write_report(network_report(request, context), paths);
  for (const std::string& path : paths) context.output().result("report: " + path + "\n");
}

}  // namespace elek::cli
