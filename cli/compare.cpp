// SPDX-License-Identifier: Apache-2.0
// elek compare: results side by side: one column per file, one row per metric, each with the difference to the first file. A
// file is a model, or the --json output of a command. A model's accuracy is taken from its history. Rows are the metrics that
// at least two files have. Tests: tests/cli/compare_test.cpp
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/latency.h"
#include "core/error.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct CompareOptions {
  Common common;
  std::vector<std::string> files;
};

enum class Unit : uint8_t { kFraction, kPlain, kCount, kBytes, kMilliseconds, kRate };
constexpr const char* kUnitNames[] = {"fraction", "plain", "count", "bytes", "ms", "1/s"};

struct Metric {
  std::string name;
  Unit unit = Unit::kPlain;
  double value = 0;
  double standard_error = NAN;  // of an accuracy, if the number of images is known
};

/// One column.
struct Source {
  std::string path;
  std::string kind;  // "model", or the command that printed it
  std::vector<Metric> metrics;
  std::optional<Evaluation> evaluation = std::nullopt;  // of a model file: from its last history entry
  [[nodiscard]] const Metric* find(const std::string& name) const {
    const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& m) { return m.name == name; });
    return found == metrics.end() ? nullptr : &*found;
  }
};

/// Makes a metric of the number in the JSON under `pointer` ("/latency_ms/p50"), unless it is missing or null.
void take(Source& source, const Json& json, const std::string& pointer, const std::string& name, Unit unit) {
  const Json::json_pointer at(pointer);
  if (json.contains(at) && json.at(at).is_number()) source.metrics.push_back({name, unit, json.at(at).get<double>(), NAN});
}

double accuracy_error(double value, double samples) { return std::sqrt(value * (1 - value) / samples); }

/// The same for an accuracy on `samples` images.
void take_accuracy(Source& source, const Json& json, const std::string& pointer, const std::string& name, double samples) {
  const size_t before = source.metrics.size();
  take(source, json, pointer, name, Unit::kFraction);
  if (source.metrics.size() == before || !(samples > 0)) return;
  Metric& made = source.metrics.back();
  made.standard_error = accuracy_error(made.value, samples);
}

double number_at(const Json& json, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return json.contains(at) && json.at(at).is_number() ? json.at(at).get<double>() : NAN;
}

void take_latency(Source& source, const Json& json, const std::string& pointer) {
  for (const std::string p : {"p10", "p50", "p90"})
    take(source, json, (pointer + "/").append(p), "latency " + p, Unit::kMilliseconds);
}

void take_machine(Source& source, const Json& json) {
  take(source, json, "/images_per_second", "images/s", Unit::kRate);
  take_latency(source, json, "/latency_ms");
  take(source, json, "/batch", "batch", Unit::kCount);
  take(source, json, "/memory/weights_bytes", "packed weights", Unit::kBytes);
  take(source, json, "/memory/arena_bytes", "arena", Unit::kBytes);
  take(source, json, "/tensors_peak_bytes", "peak of the tensors", Unit::kBytes);
  take(source, json, "/peak_rss_bytes", "peak RSS", Unit::kBytes);
}

void take_sizes(Source& source, const Json& json, const std::string& stage) {
  take(source, json, "/parameters" + stage, "parameters", Unit::kCount);
  take(source, json, "/nonzero_parameters" + stage, "nonzero parameters", Unit::kCount);
  take(source, json, "/macs" + stage, "MACs", Unit::kCount);
  take(source, json, "/parameter_bytes" + stage, "parameter bytes", Unit::kBytes);
  take(source, json, "/file_bytes" + stage, "file", Unit::kBytes);
}

void read_eval(Source& source, const Json& json) {
  const double samples = number_at(json, "/samples");
  take_accuracy(source, json, "/top1", "top-1", samples);
  take_accuracy(source, json, "/top5", "top-5", samples);
  take(source, json, "/loss", "mean loss", Unit::kPlain);
  take(source, json, "/samples", "evaluation images", Unit::kCount);
  take_machine(source, json);
}

void read_cut(Source& source, const Json& json) {
  const double samples = number_at(json, "/samples/evaluation");
  const std::string last = std::isnan(number_at(json, "/accuracy/repaired")) ? "pruned" : "repaired";
  take_accuracy(source, json, "/accuracy/" + last, "top-1", samples);
  take_accuracy(source, json, "/accuracy/dense", "top-1 dense", samples);
  take_accuracy(source, json, "/accuracy/pruned", "top-1 just pruned", samples);
  take_accuracy(source, json, "/accuracy/repaired", "top-1 repaired", samples);
  take_accuracy(source, json, "/top5/" + last, "top-5", samples);
  take(source, json, "/loss/" + last, "mean loss", Unit::kPlain);
  take(source, json, "/samples/evaluation", "evaluation images", Unit::kCount);
  take(source, json, "/samples/calibration", "calibration images", Unit::kCount);
  take_sizes(source, json, "/pruned");
  take(source, json, "/arena_bytes/pruned", "arena", Unit::kBytes);
  take(source, json, "/statistics_bytes", "statistics", Unit::kBytes);
  take_machine(source, json);
  take_latency(source, json, "/latency_ms/pruned");
  if (source.find("latency p50") != nullptr) source.metrics.push_back({"batch", Unit::kCount, 1, NAN});
}

void read_sweep(Source& source, const Json& json) {
  take_accuracy(source, json, "/dense/accuracy", "top-1 dense", number_at(json, "/samples/evaluation"));
  take(source, json, "/samples/evaluation", "evaluation images", Unit::kCount);
  take(source, json, "/samples/calibration", "calibration images", Unit::kCount);
  for (const Json& point : json.at("points")) {
    std::string name = point.at("criterion").get<std::string>() + " " + percent(point.at("share").get<double>(), 0);
    if (point.contains("group")) name += " of " + point.at("group").get<std::string>();
    take(source, point, "/macs", name + ", MACs", Unit::kCount);
    for (const Json& result : point.at("results")) {
      const std::string repair = result.at("repair").get<std::string>();
      take(source, result, "/accuracy", name + ", " + (repair == "none" ? "just pruned" : repair), Unit::kFraction);
      source.metrics.back().standard_error = number_at(result, "/standard_error");
    }
  }
  take(source, json, "/statistics_bytes", "statistics", Unit::kBytes);
  take_machine(source, json);
}

void read_info(Source& source, const Json& json) { take_sizes(source, json, ""); }

/// The accuracy from the model's history, if it was measured after the last change.
void take_history(Source& source, const History& history) {
  if (history.empty() || !history.back().evaluation) return;
  const Evaluation& e = *(source.evaluation = history.back().evaluation);
  const auto samples = static_cast<double>(e.samples);
  const auto add = [&](const std::string& name, double value) {
    source.metrics.push_back({name, Unit::kFraction, value, accuracy_error(value, samples)});
  };
  add("top-1", e.saved());
  add("top-1 dense", e.dense);
  if (e.pruned) add("top-1 just pruned", *e.pruned);
  if (e.repaired) add("top-1 repaired", *e.repaired);
  source.metrics.push_back({"evaluation images", Unit::kCount, samples, NAN});
}

void read_model(Source& source, Context& context) {
  const Model model = load_model(source.path, context.memory());
  source.kind = "model";
  take_history(source, model.history);
  const auto add = [&source](const std::string& name, Unit unit, auto value) {
    source.metrics.push_back({name, unit, static_cast<double>(value), NAN});
  };
  add("parameters", Unit::kCount, parameter_count(model));
  add("nonzero parameters", Unit::kCount, nonzero_parameter_count(model));
  add("MACs", Unit::kCount, macs(model.graph));
  add("parameter bytes", Unit::kBytes, parameter_bytes(model));
  add("file", Unit::kBytes, std::filesystem::file_size(source.path));
}

void read_json(Source& source, const std::string& text) {
  using Reader = void (*)(Source&, const Json&);
  static const std::map<std::string, Reader> kReaders{{"eval", read_eval},  {"coverage", read_cut}, {"wanda", read_cut},
                                                      {"bench", read_eval}, {"sweep", read_sweep},  {"info", read_info}};
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("command") || !json.at("command").is_string()) {
    throw InputError(source.path + ": expected a model file or the --json output of a command, found neither");
  }
  source.kind = json.at("command").get<std::string>();
  const auto reader = kReaders.find(source.kind);
  if (reader == kReaders.end()) {
    throw InputError(source.path + ": is the output of elek " + source.kind +
                     "; compare reads model files and the --json output of eval, coverage, wanda, bench, sweep and info");
  }
  try {
    reader->second(source, json);
  } catch (const Json::exception& error) {
    throw InputError(source.path + ": is not valid output of elek " + source.kind + " --json: " + error.what());
  }
}

Source read(const std::string& path, Context& context) {
  Source source{path, "", {}, std::nullopt};
  std::ifstream file(path, std::ios::binary);
  char first = 0;
  const bool is_text = !path.ends_with(".safetensors") && file >> first && first == '{';
  if (!is_text) {
    read_model(source, context);
    return source;
  }
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw InputError(path + ": could not be read to its end");
  read_json(source, text.str());
  return source;
}

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
    rows.push_back(
        {{"metric", name}, {"unit", kUnitNames[static_cast<size_t>(unit)]}, {"values", values}, {"differences", differences}});
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
  for (const std::string& path : options.files) sources.push_back(read(path, context));
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
