// SPDX-License-Identifier: Apache-2.0
// elek compare: results side by side: one column per file, one row per metric, each with the difference to the first file. A
// file is a model, or the --json output of a command. A model's accuracy is taken from its history. Rows are the metrics that
// at least two files have. Tests: tests/cli/compare_test.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "cli/commands.h"
#include "cli/compare_files.h"
#include "cli/latency.h"
#include "core/error.h"

namespace elek::cli {
namespace {

struct CompareOptions {
  Common common;
  std::vector<std::string> files;
};

constexpr std::array<const char*, 6> kUnitNames{"fraction", "plain", "count", "bytes", "ms", "1/s"};  // by Unit

std::string text_of(const Metric& metric) {
  switch (metric.unit) {
    case Unit::kFraction:
      return percent(metric.value);
    case Unit::kCount:
      return with_commas(std::llround(metric.value));
    case Unit::kBytes:
      return readable_bytes(static_cast<size_t>(metric.value));
    case Unit::kMilliseconds:
      return decimal(metric.value, 3) + " ms";
    case Unit::kRate:
      return decimal(metric.value, 1);
    default:
      return decimal(metric.value, 4);
  }
}

std::string with_sign(double value, int digits) { return (value >= 0 ? "+" : "") + decimal(value, digits); }

/// Whether two accuracies differ by less than two standard errors. They are treated as measured on different images, the
/// cautious way.
bool is_noise(const Metric& a, const Metric& b) {
  return std::fabs(a.value - b.value) <= 2 * std::hypot(a.standard_error, b.standard_error);
}

std::string difference_of(const Metric& metric, const Metric& first) {
  if (metric.value == first.value) return "(=)";
  const double difference = metric.value - first.value;
  if (metric.unit == Unit::kFraction) return "(" + with_sign(100 * difference, 2) + (is_noise(metric, first) ? "~" : "") + ")";
  if (metric.unit == Unit::kPlain || first.value == 0) return "(" + with_sign(difference, 4) + ")";
  return "(" + with_sign(100 * difference / first.value, 1) + " %)";
}

/// The metrics that at least two files have, in the order of first appearance.
std::vector<std::string> shared_names(const std::vector<Source>& sources) {
  std::vector<std::string> names;
  for (const Source& source : sources) {
    for (const Metric& metric : source.metrics) {
      const auto tells = [&](const Source& each) { return each.find(metric.name) != nullptr; };
      if (std::find(names.begin(), names.end(), metric.name) == names.end() &&
          std::count_if(sources.begin(), sources.end(), tells) > 1) {
        names.push_back(metric.name);
      }
    }
  }
  return names;
}

/// File names without directories, if these differ.
std::vector<std::string> headings(const std::vector<Source>& sources) {
  std::map<std::string, int> uses;
  for (const Source& source : sources) ++uses[std::filesystem::path(source.path).filename().string()];
  std::vector<std::string> made;
  for (const Source& source : sources) {
    const std::string name = std::filesystem::path(source.path).filename().string();
    made.push_back(uses[name] > 1 ? source.path : name);
  }
  return made;
}

/// A warning if the model files were measured on different images, otherwise empty.
std::string other_images(const std::vector<Source>& sources) {
  const Source* first = nullptr;
  for (const Source& source : sources) {
    if (!source.evaluation) continue;
    if (first == nullptr) first = &source;
    if (source.evaluation->hash == first->evaluation->hash) continue;
    return "\nThe accuracies were measured on different images: " + first->path + " was measured on " +
           first->evaluation->data + " (" + first->evaluation->hash + "), " + source.path + " on " + source.evaluation->data +
           " (" + source.evaluation->hash + ").\n";
  }
  return "";
}

std::optional<Latency> latency_of(const Source& source) {
  const Metric *p10 = source.find("latency p10"), *p50 = source.find("latency p50"), *p90 = source.find("latency p90");
  if (p10 == nullptr || p50 == nullptr || p90 == nullptr) return std::nullopt;
  return Latency{p10->value, p50->value, p90->value};
}

/// Lists networks that are not faster than the first, if both were timed with equal batches: the user should notice if a cut
/// network is not faster.
std::string slower_text(const std::vector<Source>& sources) {
  const std::vector<std::string> names = headings(sources);
  const std::optional<Latency> first = latency_of(sources.front());
  const Metric* const batch = sources.front().find("batch");
  std::string text;
  for (size_t i = 1; i < sources.size(); ++i) {
    const std::optional<Latency> now = latency_of(sources[i]);
    const Metric* const own = sources[i].find("batch");
    if (!first || !now || batch == nullptr || own == nullptr || own->value != batch->value || !(now->p50 > first->p50))
      continue;
    text += names[i] + (is_slower(*now, *first) ? " is SLOWER than " : " is not faster than ") + names.front() + ": " +
            decimal(now->p50, 3) + " ms per batch, " + decimal(first->p50, 3) + " ms" +
            (is_slower(*now, *first) ? "\n" : " (their ranges from 10 to 90 % overlap)\n");
  }
  return text.empty() ? text : "\n" + text;
}

void report(const std::vector<Source>& sources, const std::vector<std::string>& names, const Context& context) {
  std::vector<std::string> header{""};
  for (const std::string& heading : headings(sources)) header.push_back(heading);
  Table table(header);
  Json rows = Json::array();
  bool noise = false;
  for (const std::string& name : names) {
    const Metric* const first = sources.front().find(name);
    std::vector<std::string> row{name};
    Json values = Json::array(), differences = Json::array();
    Unit unit = Unit::kPlain;
    for (const Source& source : sources) {
      const Metric* const metric = source.find(name);
      const bool compared = metric != nullptr && first != nullptr && metric != first;
      row.push_back(metric == nullptr ? "-" : text_of(*metric) + (compared ? " " + difference_of(*metric, *first) : ""));
      noise = noise || (compared && metric->value != first->value && is_noise(*metric, *first));
      values.push_back(metric == nullptr ? Json() : Json(metric->value));
      differences.push_back(compared ? Json(metric->value - first->value) : Json());
      if (metric != nullptr) unit = metric->unit;
    }
    table.add(row);
    rows.push_back({{"metric", name},
                    {"unit", kUnitNames.at(static_cast<size_t>(unit))},
                    {"values", values},
                    {"differences", differences}});
  }
  context.output().result(table.text() + slower_text(sources));
  if (noise) {
    context.output().result(
        "\n~ less than two standard errors, computed as if the images were different. elek sweep compares image by "
        "image, which shows smaller differences.\n");
  }
  context.output().result(other_images(sources));
  Json files = Json::array();
  for (const Source& source : sources) {
    Json evaluation;
    if (const auto& e = source.evaluation) evaluation = {{"data", e->data}, {"hash", e->hash}, {"samples", e->samples}};
    files.push_back({{"path", source.path}, {"kind", source.kind}, {"evaluation", evaluation}});
  }
  context.output().json({{"command", "compare"}, {"files", files}, {"rows", rows}});
}

void compare(const CompareOptions& options) {
  Context context(options.common);
  std::vector<Source> sources;
  for (const std::string& path : options.files) sources.push_back(read_source(path, context));
  const std::vector<std::string> names = shared_names(sources);
  if (names.empty()) {
    std::string kinds;
    for (const Source& source : sources) kinds += (kinds.empty() ? "" : ", ") + source.path + " (" + source.kind + ")";
    throw InputError("nothing to compare: no metric is in two of " + kinds);
  }
  report(sources, names, context);
}

}  // namespace

void add_compare(CLI::App& app, Run& run) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = app.add_subcommand("compare", "Show models, or --json outputs of commands, side by side");
  command
      ->add_option("files", options->files,
                   "Model files, or files with the --json output of eval, coverage, wanda, bench, sweep, info")
      ->required()
      ->expected(2, 1000);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek compare net.safetensors small.safetensors\n"
      "  elek coverage ... --channels 0.3 --json > 30.json; elek coverage ... --channels 0.5 --json > 50.json\n"
      "  elek compare 30.json 50.json");
  command->callback([&run, options] { run = [options] { compare(*options); }; });
}

}  // namespace elek::cli
