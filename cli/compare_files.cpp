// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "core/error.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

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

}  // namespace

const Metric* Source::find(const std::string& name) const {
  const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& m) { return m.name == name; });
  return found == metrics.end() ? nullptr : &*found;
}

Source read_source(const std::string& path, Context& context) {
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

}  // namespace elek::cli
