// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_pictures.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/file.h"
#include "engine/largest_batch.h"
#include "lab/map_page.h"
#include "lab/memory_map.h"
#include "lab/plot.h"

namespace elek::cli {
namespace {

std::string mb(size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 3); }

MapSet set_of(const std::string& name, Trace trace, const std::optional<Replay>& given) {
  MapSet set{name, std::move(trace), {}};
  if (given && given->offsets.size() == set.trace.blocks.size()) set.replays.push_back(*given);
  for (const Strategy s : {Strategy::kArena, Strategy::kPool, Strategy::kCaching, Strategy::kSeparate}) {
    if (s != Strategy::kArena || set.trace.blocks.size() <= kMostForThePlan) set.replays.push_back(replay(set.trace, s));
  }
  return set;
}

void print_steps(const Output& output, const Trace& trace, Json& json) {
  const std::vector<size_t> sums = alive_at_steps(trace);
  const size_t peak = sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
  Json rows = Json::array(), blocks = Json::array();
  for (const Trace::Block& b : trace.blocks) {
    blocks.push_back({{"name", b.label},
                      {"values", b.detail},
                      {"bytes", b.bytes},
                      {"first_step", b.first_step + 1},
                      {"last_step", b.last_step + 1},
                      {"workspace", b.workspace}});
  }
  size_t width = 0;
  for (const std::string& name : trace.steps) width = std::max(width, name.size());
  std::string text = "bytes alive at each step = the blocks that are alive, in MB\n";
  for (size_t step = 0; step < trace.steps.size(); ++step) {
    const auto now = static_cast<int32_t>(step);
    std::string names;
    for (const Trace::Block& b : trace.blocks) {
      if (b.first_step <= now && now <= b.last_step && b.bytes > 0)
        names += (names.empty() ? " = " : " + ") + b.label + " " + mb(b.bytes);
    }
    const std::string number = std::to_string(step + 1), &name = trace.steps[step];
    text += std::string(number.size() < 4 ? 4 - number.size() : 0, ' ') + number + " " + name +
            std::string(width - name.size(), ' ') + "  " + mb(sums[step]) + names + (sums[step] == peak ? "  <- peak" : "") +
            "\n";
    rows.push_back({{"step", step + 1}, {"name", trace.steps[step]}, {"alive_bytes", sums[step]}});
  }
  output.result("\n" + text);
  json["steps"] = rows;
  json["blocks"] = blocks;
}

/// Prints a sweep as a table and adds it to `json`.
void print(const Output& output, const MapSweep& sweep, const std::string& key, Json& json) {
  std::vector<std::string> header{sweep.x_label};
  for (const std::string& name : sweep.series) header.push_back(name + ", MB");
  Table table(header);
  Json rows = Json::array();
  for (const MapSweep::Row& row : sweep.rows) {
    std::vector<std::string> cells{std::to_string(row.x)};
    Json values = {{key, row.x}};
    for (size_t i = 0; i < row.bytes.size(); ++i) {
      cells.push_back(mb(row.bytes[i]));
      values[sweep.series[i]] = row.bytes[i];
    }
    table.add(cells);
    rows.push_back(values);
  }
  output.result("\n" + table.text());
  json[key + "_sweep"] = rows;
}

MapSweep sweep_batches(const PictureOptions& options, const Planned& planned, const Estimate& estimate) {
  MapSweep sweep{
      "Memory against the batch",
      "images in a batch",
      "Whole: all images of a batch pass through the steps together. Micro-batches: elek's choice, a part at a time.",
      {"arena, whole", "arena, micro-batches", "staging", "statistics"},
      {}};
  for (const int64_t batch : options.batches) {
    const SessionMemory whole = estimate({batch, batch, planned.threads}).memory;
    const SessionMemory parts = estimate({batch, planned.micro_batch, planned.threads}).memory;
    sweep.rows.push_back({batch, {whole.arena_bytes, parts.arena_bytes, parts.staging_bytes, parts.statistics_bytes}});
  }
  return sweep;
}

MapSweep sweep_threads(const PictureOptions& options, const Planned& planned, const Estimate& estimate) {
  MapSweep sweep{"Memory against the threads",
                 "threads",
                 "Each thread needs its own workspace and its own sums. Activations do not depend on the threads.",
                 {"arena", "activations alone", "largest workspace", "statistics"},
                 {}};
  for (const int64_t threads : options.threads) {
    const SessionMemory m = estimate({planned.batch, planned.micro_batch, threads}).memory;
    sweep.rows.push_back({threads, {m.arena_bytes, m.activations_bytes, m.workspace_bytes, m.statistics_bytes}});
  }
  return sweep;
}

void write_plot(const std::string& path, const std::string& title, const MapSweep& sweep) {
  Plot plot{title, sweep.note, sweep.x_label, "MB", "", 0, {}, {}};
  PlotPanel panel{"", {}};
  for (size_t i = 0; i < sweep.series.size(); ++i) {
    panel.series.push_back({sweep.series[i], {}});
    for (const MapSweep::Row& row : sweep.rows) {
      const double y = static_cast<double>(row.bytes[i]) / 1e6;
      panel.series.back().points.push_back({static_cast<double>(row.x), y, y, y});
    }
  }
  plot.panels.push_back(std::move(panel));
  write_whole_file(path, plot_svg(plot));
}

void write_page(const std::string& path, const PictureOptions& options, const std::string& title,
                const SessionEstimate& session, const std::optional<Replay>& given, std::vector<MapSweep> sweeps) {
  const SessionMemory& m = session.memory;
  MapPage page;
  page.title = title;
  page.session = {
      {"weights", m.weights_bytes}, {"arena", m.arena_bytes}, {"statistics", m.statistics_bytes}, {"staging", m.staging_bytes}};
  for (const ProgramStep& step : session.program.steps) {
    if (step.weights_bytes > 0) page.weights.emplace_back(step.node.node.name, step.weights_bytes);
  }
  if (!options.no_workspace) page.sets.push_back(set_of("with workspace", trace_of(session.program), given));
  page.sets.push_back(
      set_of("activations alone", trace_of(session.program, false), options.no_workspace ? given : std::nullopt));
  page.sweeps = std::move(sweeps);
  write_whole_file(path, map_page_html(page));
}

void write_map(const std::string& path, const PictureOptions& options, const std::string& title, const Trace& trace) {
  static const std::map<std::string, Strategy> kPanels{{"naive", Strategy::kSeparate},   {"caching", Strategy::kCaching},
                                                       {"pool", Strategy::kPool},        {"first-fit", Strategy::kFirstFit},
                                                       {"best-fit", Strategy::kBestFit}, {"arena", Strategy::kArena}};
  std::vector<Replay> replays;
  if (options.panel.empty()) {
    for (const Strategy s : {Strategy::kSeparate, Strategy::kCaching, Strategy::kPool, Strategy::kArena}) {
      replays.push_back(replay(trace, s));
    }
  } else {
    replays.push_back(replay(trace, kPanels.at(options.panel)));
  }
  const std::vector<size_t> sums = alive_at_steps(trace);
  const auto peak = std::max_element(sums.begin(), sums.end());
  write_whole_file(
      path, memory_map_svg(trace, replays, {title, *peak, static_cast<int32_t>(peak - sums.begin()), options.one_scale}));
}

}  // namespace

void add_pictures(CLI::App& command, PictureOptions& options) {
  command.add_option("--map", options.map, "Draw the memory map as a static picture into this .svg file");
  command
      .add_option("--panel", options.panel,
                  "Only one allocator in --map, large, with the curve: naive, caching, pool, first-fit, best-fit or arena")
      ->check(CLI::IsMember({"naive", "caching", "pool", "first-fit", "best-fit", "arena"}));
  command.add_flag("--one-scale", options.one_scale, "The same scale of bytes for all panels of --map");
  command.add_option("--html", options.html, "Write an interactive memory map into this .html file; it needs no network");
  command.add_flag("--no-workspace", options.no_workspace, "Maps and steps of the activations alone, without workspace");
  command.add_flag("--steps", options.steps, "List for each step the blocks that are alive, and their bytes");
  command.add_option("--batches", options.batches, "Also compare these batch sizes: 1,2,4,8")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, kMostBatch));
  command.add_option("--threads-list", options.threads, "Also compare these numbers of threads: 1,2,4,8")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  command.add_option("--plot", options.plot, "Draw the comparison of --batches or --threads-list into this .svg file");
}

void check(const PictureOptions& options, bool lifetimes) {
  if (!options.map.empty() && !options.map.ends_with(".svg")) {
    throw UsageError("--map " + options.map + ": expected a name that ends in .svg; the interactive page is --html FILE.html");
  }
  if (!options.html.empty() && !options.html.ends_with(".html")) {
    throw UsageError("--html " + options.html + ": expected a name that ends in .html");
  }
  if (!options.plot.empty() && !options.plot.ends_with(".svg")) {
    throw UsageError("--plot " + options.plot + ": expected a name that ends in .svg");
  }
  if (!options.plot.empty() && options.batches.empty() == options.threads.empty()) {
    throw UsageError("--plot draws one comparison; add either --batches 1,2,4 or --threads-list 1,2,4");
  }
  if (!options.panel.empty() && options.map.empty()) throw UsageError("--panel belongs to --map; add --map FILE.svg");
  if (options.one_scale && options.map.empty()) throw UsageError("--one-scale belongs to --map; add --map FILE.svg");
  if (options.no_workspace && options.map.empty() && options.html.empty() && !options.steps && !lifetimes) {
    throw UsageError("--no-workspace belongs to --map, --html, --steps, --placement or --write-trace; add one of them");
  }
}

void draw(const Output& output, const PictureOptions& options, const std::string& title, const SessionEstimate& session,
          const Planned& planned, const Estimate& estimate, const std::optional<Replay>& given, Json& json) {
  if (options.steps) print_steps(output, trace_of(session.program, !options.no_workspace), json);
  std::vector<MapSweep> sweeps;
  if (!options.batches.empty()) {
    sweeps.push_back(sweep_batches(options, planned, estimate));
    print(output, sweeps.back(), "batch", json);
  }
  if (!options.threads.empty()) {
    sweeps.push_back(sweep_threads(options, planned, estimate));
    print(output, sweeps.back(), "threads", json);
  }
  if (!options.plot.empty()) {
    write_plot(options.plot, title, sweeps.front());
    output.result("plot: " + options.plot + "\n");
    json["plot"] = options.plot;
  }
  if (!options.map.empty()) {
    write_map(options.map, options, title, trace_of(session.program, !options.no_workspace));
    output.result("map: " + options.map + "\n");
    json["map"] = options.map;
  }
  if (!options.html.empty()) {
    write_page(options.html, options, title, session, given, std::move(sweeps));
    output.result("page: " + options.html + "\n");
    json["html"] = options.html;
  }
}

void draw(const Output& output, const PictureOptions& options, const std::string& title, const Trace& trace,
          const std::optional<Replay>& given, Json& json) {
  if (options.steps) print_steps(output, trace, json);
  if (!options.map.empty()) {
    write_map(options.map, options, title, trace);
    output.result("map: " + options.map + "\n");
    json["map"] = options.map;
  }
  if (!options.html.empty()) {
    MapPage page;
    page.title = title;
    page.sets.push_back(set_of("trace", trace, given));
    write_whole_file(options.html, map_page_html(page));
    output.result("page: " + options.html + "\n");
    json["html"] = options.html;
  }
}

}  // namespace elek::cli
