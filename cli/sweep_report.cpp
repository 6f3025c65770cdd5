// SPDX-License-Identifier: Apache-2.0
// The results of a sweep as table, JSON, CSV and plot.
#include <algorithm>
#include <cmath>

#include "cli/sweep.h"
#include "core/error.h"
#include "prune/select.h"

namespace elek::cli {
namespace {

/// Whether one of the criteria draws its scores.
bool draws(const SweepSpec& spec) {
  return std::any_of(spec.criteria.begin(), spec.criteria.end(), [](const Criterion* c) { return c->traits().uses_seed; });
}

std::string column_of(Repair repair) { return repair == Repair::kNone ? "just pruned" : name_of(repair); }

std::string title_of(Repair repair) {
  switch (repair) {
    case Repair::kNone:
      return "just pruned";
    case Repair::kBatchNorm:
      return "batch norm re-estimated";
    case Repair::kRefit:
      return "refitted by least squares";
    case Repair::kDistill:
    case Repair::kAuto:
      return "refitted and distilled";
    default:
      return "refitted and re-estimated";
  }
}

/// A percentage with its standard error: "91.60 +-0.28".
std::string points(const Estimate& estimate, const std::string& sign = "") {
  return (estimate.value >= 0 ? sign : "") + decimal(100 * estimate.value, 2) + " +-" +
         decimal(100 * estimate.standard_error, 2);
}

double kept_macs(const Dense& dense, const SweepPoint& point) {
  return static_cast<double>(point.macs) / static_cast<double>(macs(dense.model.graph));
}

std::string megabytes_of(size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 2); }

/// For a random criterion the spread of its draws replaces the standard error: it shows what to expect of a single draw.
Estimate shown(const SweepResult& result) {
  Estimate estimate = accuracy_of(result.judged);
  if (!result.judged.draws.empty()) estimate.standard_error = spread_of(result.judged.draws);
  return estimate;
}

std::string accuracies_table(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  std::vector<std::string> header{"top-1 in %", "cut", "MACs kept", "parameters", "MB"};
  for (const Repair repair : spec.repairs) header.push_back(column_of(repair) + " ");
  Table table(header);
  table.add({"dense", "", "100.0 %", with_commas(parameter_count(dense.model)), megabytes_of(parameter_bytes(dense.model)),
             points(accuracy_of(sweep.dense)) + " "});
  double share = 0;
  for (const SweepPoint& point : sweep.points) {
    if (point.share != share) table.add_rule();
    share = point.share;
    std::vector<std::string> row{point.criterion->name(), percent(point.share, 0), percent(kept_macs(dense, point), 1),
                                 with_commas(point.parameters), megabytes_of(point.parameter_bytes)};
    for (size_t r = 0; r < point.results.size(); ++r) {
      const SweepResult& result = point.results[r];
      const Rivals rivals = rivals_of(sweep, point, r);
      const bool leads = spec.criteria.size() > 1 && !paired_difference(result.judged, rivals.best->judged).is_significant();
      row.push_back(points(shown(result)) + (leads ? "*" : " "));
    }
    table.add(row);
  }
  return table.text();
}

std::string sensitivity_table(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  std::vector<std::string> header{"top-1, points from dense", "criterion", "cut", "MACs saved"};
  for (const Repair repair : spec.repairs) header.push_back(column_of(repair));
  Table table(header);
  double share = 0;
  for (const SweepPoint& point : sweep.points) {
    if (point.share != share && share > 0) table.add_rule();
    share = point.share;
    std::vector<std::string> row{point.group, point.criterion->name(), percent(point.share, 0),
                                 percent(1 - kept_macs(dense, point), 1)};
    for (const SweepResult& result : point.results) row.push_back(points(paired_difference(result.judged, sweep.dense), "+"));
    table.add(row);
  }
  return table.text();
}

/// Criteria that are significantly worse than random. Empty if there are none, or if there are no draws to compare with.
std::string worse_than_random(const Sweep& sweep) {
  std::string list;
  for (const SweepPoint& point : sweep.points) {
    for (size_t r = 0; r < point.results.size(); ++r) {
      const Rivals rivals = rivals_of(sweep, point, r);
      if (rivals.random == nullptr || rivals.random == &point.results[r]) continue;
      const Estimate by = paired_difference(point.results[r].judged, rivals.random->judged);
      if (!by.is_significant() || by.value >= 0) continue;
      list += (list.empty() ? "" : "; ") + point.criterion->name() + " " + percent(point.share, 0) +
              (point.group.empty() ? "" : " of " + point.group) + ", " + column_of(point.results[r].repair);
    }
  }
  return list;
}

std::string footer(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  const bool random = draws(spec);
  std::string text = "\n+-: one standard error over " + with_commas(dense.measured.accuracy.samples) + " images" +
                     (spec.sensitivity ? ", paired with dense" : "");
  if (random && !spec.sensitivity) {
    text += "; random: mean and spread of " + std::to_string(spec.draws) + " draws";
  }
  text += ".\n";
  if (!spec.sensitivity && spec.criteria.size() > 1) {
    text += "* the best criterion of its cut, or within two standard errors of it (compared image by image).\n";
  }
  const std::string worse = worse_than_random(sweep);
  if (!worse.empty()) text += "Worse than random by more than two standard errors: " + worse + ".\n";
  return text;
}

Json estimate_json(const Estimate& estimate) {
  return {{"difference", estimate.value}, {"standard_error", estimate.standard_error}};
}

Json result_json(const Sweep& sweep, const SweepPoint& point, size_t r) {
  const SweepResult& result = point.results[r];
  const Estimate accuracy = accuracy_of(result.judged);
  const Rivals rivals = rivals_of(sweep, point, r);
  Json json = {{"repair", name_of(result.repair)},
               {"accuracy", result.accuracy.top1},
               {"standard_error", accuracy.standard_error},
               {"top5", result.accuracy.top5},
               {"loss", result.accuracy.loss}};
  if (!result.judged.draws.empty()) {
    json["draws"] = result.judged.draws;
    json["spread"] = spread_of(result.judged.draws);
  }
  json["against_dense"] = estimate_json(paired_difference(result.judged, sweep.dense));
  json["against_best"] = estimate_json(paired_difference(result.judged, rivals.best->judged));
  json["against_random"] = nullptr;
  if (rivals.random != nullptr) json["against_random"] = estimate_json(paired_difference(result.judged, rivals.random->judged));
  return json;
}

std::string field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

/// All digits of the double, for programs that read the table.
std::string exact(double value) { return std::isfinite(value) ? share_text(value) : ""; }

/// With sensitivity the loss of each cut matters, so the error bars are those of the paired difference to dense.
PlotPoint plot_point(double x, const SweepResult& result, const SweepSpec& spec, const Judged& dense) {
  Estimate accuracy = accuracy_of(result.judged);
  if (spec.sensitivity) accuracy.standard_error = paired_difference(result.judged, dense).standard_error;
  PlotPoint point{x, 100 * accuracy.value, 0, 0};
  const std::vector<double>& draws = result.judged.draws;
  if (draws.empty()) {
    point.low = 100 * (accuracy.value - 2 * accuracy.standard_error);
    point.high = 100 * (accuracy.value + 2 * accuracy.standard_error);
  } else {
    point.low = 100 * *std::min_element(draws.begin(), draws.end());
    point.high = 100 * *std::max_element(draws.begin(), draws.end());
  }
  return point;
}

PlotPanel panel_of(const Dense& dense, const Sweep& sweep, const SweepSpec& spec, size_t r,
                   const std::vector<std::string>& categories) {
  PlotPanel panel{title_of(spec.repairs[r]), {}};
  const auto add_series = [&](const std::string& name, const auto& is_of) {
    PlotSeries series{name, {}};
    for (const SweepPoint& point : sweep.points) {
      if (!is_of(point)) continue;
      const auto category = std::find(categories.begin(), categories.end(), point.group) - categories.begin();
      series.points.push_back(plot_point(categories.empty() ? 100 * kept_macs(dense, point) : static_cast<double>(category),
                                         point.results[r], spec, sweep.dense));
    }
    panel.series.push_back(std::move(series));
  };
  for (const Criterion* criterion : spec.criteria) {
    if (!spec.sensitivity) {
      add_series(criterion->name(), [&](const SweepPoint& point) { return point.criterion == criterion; });
      continue;
    }
    for (const double share : spec.shares) {
      add_series(criterion->name() + " " + percent(share, 0),
                 [&](const SweepPoint& point) { return point.criterion == criterion && point.share == share; });
    }
  }
  return panel;
}

}  // namespace

std::string sweep_table(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  return (spec.sensitivity ? sensitivity_table(dense, sweep, spec) : accuracies_table(dense, sweep, spec)) +
         footer(dense, sweep, spec);
}

Json sweep_json(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  Json points = Json::array();
  for (const SweepPoint& point : sweep.points) {
    Json results = Json::array();
    for (size_t r = 0; r < point.results.size(); ++r) results.push_back(result_json(sweep, point, r));
    Json json = {{"criterion", point.criterion->name()}, {"share", point.share}};
    if (!point.group.empty()) json["group"] = point.group;
    json.update({{"target", point.target},
                 {"parameters", point.parameters},
                 {"macs", point.macs},
                 {"parameter_bytes", point.parameter_bytes},
                 {"equivalence", {{"difference", point.equivalence.difference}, {"bound", point.equivalence.bound}}},
                 {"results", results}});
    points.push_back(json);
  }
  return {{"command", "sweep"},
          {"model", dense.path},
          {"calibrate", dense.input.calibrate},
          {"evaluate", dense.input.evaluate},
          {"samples",
           {{"calibration", dense.calibration->samples()},
            {"evaluation", dense.measured.accuracy.samples},
            {"overlap", dense.overlap}}},
          {"dense",
           {{"accuracy", dense.measured.accuracy.top1},
            {"standard_error", accuracy_of(sweep.dense).standard_error},
            {"top5", dense.measured.accuracy.top5},
            {"loss", dense.measured.accuracy.loss},
            {"parameters", parameter_count(dense.model)},
            {"macs", macs(dense.model.graph)},
            {"parameter_bytes", parameter_bytes(dense.model)}}},
          {"sensitivity", spec.sensitivity},
          {"statistics_bytes", sweep.statistics_bytes},
          {"points", points}};
}

std::string sweep_csv(const Dense& dense, const Sweep& sweep) {
  std::string csv =
      "criterion,share,group,target,repair,macs,macs_kept,parameters,parameter_bytes,accuracy,standard_error,spread,top5,loss,"
      "against_dense,against_dense_error,against_best,against_best_error\n";
  for (const SweepPoint& point : sweep.points) {
    for (size_t r = 0; r < point.results.size(); ++r) {
      const SweepResult& result = point.results[r];
      const Estimate from_dense = paired_difference(result.judged, sweep.dense);
      const Estimate from_best = paired_difference(result.judged, rivals_of(sweep, point, r).best->judged);
      const std::vector<std::string> fields{point.criterion->name(),
                                            exact(point.share),
                                            point.group,
                                            point.target,
                                            name_of(result.repair),
                                            std::to_string(point.macs),
                                            exact(kept_macs(dense, point)),
                                            std::to_string(point.parameters),
                                            std::to_string(point.parameter_bytes),
                                            exact(result.accuracy.top1),
                                            exact(accuracy_of(result.judged).standard_error),
                                            result.judged.draws.empty() ? "" : exact(spread_of(result.judged.draws)),
                                            exact(result.accuracy.top5),
                                            exact(result.accuracy.loss),
                                            exact(from_dense.value),
                                            exact(from_dense.standard_error),
                                            exact(from_best.value),
                                            exact(from_best.standard_error)};
      for (size_t f = 0; f < fields.size(); ++f) csv += (f > 0 ? "," : "") + field(fields[f]);
      csv += "\n";
    }
  }
  return csv;
}

std::string images_csv(const Sweep& sweep) {
  std::string csv = "image,dense";
  std::vector<const Judged*> columns{&sweep.dense};
  for (const SweepPoint& point : sweep.points) {
    for (const SweepResult& result : point.results) {
      csv += "," + field(point.criterion->name() + " " + share_text(point.share) +
                         (point.group.empty() ? "" : " " + point.group) + " " + name_of(result.repair));
      columns.push_back(&result.judged);
    }
  }
  csv += "\n";
  for (size_t i = 0; i < sweep.dense.right.size(); ++i) {
    csv += std::to_string(i);
    for (const Judged* column : columns) csv += "," + significant(double{column->right[i]});
    csv += "\n";
  }
  return csv;
}

Plot sweep_plot(const Dense& dense, const Sweep& sweep, const SweepSpec& spec) {
  Plot plot;
  if (spec.sensitivity) {
    for (const SweepPoint& point : sweep.points) {
      if (std::find(plot.categories.begin(), plot.categories.end(), point.group) == plot.categories.end()) {
        plot.categories.push_back(point.group);
      }
    }
  }
  plot.title = dense.model.architecture +
               (spec.sensitivity ? ": accuracy when only one group is cut" : ": accuracy against the MACs kept");
  plot.subtitle = "Top-1 on " + with_commas(dense.measured.accuracy.samples) + " images; watched and repaired on " +
                  with_commas(dense.calibration->samples()) + ", without labels. Bars: two standard errors" +
                  (spec.sensitivity ? " of the difference to dense" : "");
  if (draws(spec)) {
    plot.subtitle += "; random: lowest to highest of " + std::to_string(spec.draws) + " draws";
  }
  plot.x_label =
      spec.sensitivity ? "the group that is cut, in the order of the network" : "MACs kept, in % of the dense network";
  plot.y_label = "top-1, %";
  plot.level = 100 * dense.measured.accuracy.top1;
  plot.level_name = "dense, " + decimal(plot.level, 2) + " %";
  for (size_t r = 0; r < spec.repairs.size(); ++r) plot.panels.push_back(panel_of(dense, sweep, spec, r, plot.categories));
  return plot;
}

}  // namespace elek::cli
