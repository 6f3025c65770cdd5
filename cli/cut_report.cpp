// SPDX-License-Identifier: Apache-2.0
#include "cli/cut_report.h"

#include <functional>
#include <optional>
#include <vector>

#include "cli/distillation_text.h"

namespace elek::cli {
namespace {

/// One accuracy figure at each stage; null for a repair that was not done.
Json stages(const Dense& dense, const CutResult& result, double Accuracy::*figure) {
  const CutReport& report = result.report;
  Json json = {{"dense", dense.measured.accuracy.*figure}, {"pruned", report.pruned->accuracy.*figure}, {"repaired", nullptr}};
  if (report.repaired) json["repaired"] = report.repaired->accuracy.*figure;
  if (result.quantized) json["quantized"] = (*result.quantized).*figure;
  return json;
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

std::string accuracy_table(const Dense& dense, const CutResult& result) {
  const CutReport& report = result.report;
  std::vector<std::string> head{"", "dense", "just pruned", "repaired"};
  if (result.quantized) head.emplace_back("int8");
  Table table(head);
  const auto add = [&](const std::string& name, double Accuracy::*figure, const std::function<std::string(double)>& text) {
    std::vector<std::string> row{name, text(dense.measured.accuracy.*figure), text(report.pruned->accuracy.*figure),
                                 report.repaired ? text(report.repaired->accuracy.*figure) : "-"};
    if (result.quantized) row.push_back(text((*result.quantized).*figure));
    table.add(row);
  };
  const auto share = [](double value) { return percent(value); };
  add("top-1", &Accuracy::top1, share);
  add("top-5", &Accuracy::top5, share);
  add("mean loss", &Accuracy::loss, [](double value) { return decimal(value, 4); });
  return table.text();
}

size_t arena_bytes(const CutResult& result) {
  return result.quantized ? result.quantized_arena_bytes : result.report.pruned->arena_bytes;
}

std::string size_table(const Dense& dense, const CutResult& result) {
  const CutReport& report = result.report;
  Table table({"", "dense", "pruned", "change"});
  const auto row = [&table](const std::string& name, int64_t before, int64_t after) {
    table.add({name, with_commas(before), with_commas(after), change(static_cast<double>(before), static_cast<double>(after))});
  };
  row("parameters", parameter_count(dense.model), parameter_count(report.model));
  row("nonzero parameters", nonzero_parameter_count(dense.model), nonzero_parameter_count(report.model));
  row("MACs per image", macs(dense.model.graph), macs(report.model.graph));
  row("file bytes", static_cast<int64_t>(result.dense_file_bytes), static_cast<int64_t>(result.pruned_file_bytes));
  row("arena bytes", static_cast<int64_t>(dense.measured.arena_bytes), static_cast<int64_t>(arena_bytes(result)));
  return table.text();
}

}  // namespace

void print_report(const Dense& dense, const CutResult& result, const Context& context) {
  const CutReport& report = result.report;
  context.output().result("\n" + accuracy_table(dense, result) + "\n");
  context.output().result(size_table(dense, result));
  if (report.watched_samples > 0) {
    context.output().result("statistics: " + readable_bytes(report.statistics_bytes) + " of memory for " +
                            with_commas(report.watched_samples) + " images\n");
  }
  context.print_phases();
}

Json report_json(const std::string& name, const Dense& dense, const CutResult& result, const std::string& out, const Json& why,
                 const Context& context) {
  const CutReport& report = result.report;
  return {{"command", name},
          {"model", dense.path},
          {"out", out},
          {"criterion", report.plan.criterion},
          {"target", report.plan.target},
          {"repair", report.repair},
          {"accuracy", stages(dense, result, &Accuracy::top1)},
          {"top5", stages(dense, result, &Accuracy::top5)},
          {"loss", stages(dense, result, &Accuracy::loss)},
          {"parameters", before_after(parameter_count(dense.model), parameter_count(report.model))},
          {"nonzero_parameters", before_after(nonzero_parameter_count(dense.model), nonzero_parameter_count(report.model))},
          {"macs", before_after(macs(dense.model.graph), macs(report.model.graph))},
          {"file_bytes", before_after(result.dense_file_bytes, result.pruned_file_bytes)},
          {"arena_bytes", before_after(dense.measured.arena_bytes, arena_bytes(result))},
          {"statistics_bytes", report.statistics_bytes},
          {"samples",
           {{"calibration", dense.calibration->samples()},
            {"evaluation", dense.measured.accuracy.samples},
            {"overlap", dense.overlap}}},
          {"equivalence",
           {{"difference", report.equivalence.difference},
            {"bound", report.equivalence.bound},
            {"samples", report.equivalence.samples}}},
          {"distillation", report.distilled ? distillation_json(*report.distilled) : Json()},
          {"cuts", groups_json(report.plan)},
          {"why", why},
          {"peak_rss_bytes", context.peak_rss_bytes()},
          {"phases", context.phases_json()}};
}

}  // namespace elek::cli
