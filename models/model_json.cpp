// SPDX-License-Identifier: Apache-2.0
// A model without its parameters as JSON, and back. Field order and number format are fixed, so that saving what was loaded
// gives the same bytes. Inputs are named, not numbered: the JSON is read by people too.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "core/error.h"
#include "models/json_reader.h"
#include "models/model_file.h"
#include "models/text.h"

namespace elek {

namespace {

using nlohmann::ordered_json;

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();  // of every attribute: far beyond use, no overflow
constexpr int64_t kMaxCount = std::numeric_limits<int64_t>::max();

// ---- writing ----

/// Writes an operator's attributes in the order of its fields.
class FieldWriter {
 public:
  explicit FieldWriter(ordered_json& to) : json_(to) {}
  void operator()(const char* name, const auto& value, const auto&... more) const {
    if (!is_omitted(value, more...)) write(name, value);
  }

 private:
  void write(const char* name, const auto& value) const { json_[name] = value; }
  void write(const char* name, const ImageShape& shape) const { json_[name] = {shape.channels, shape.height, shape.width}; }
  void write(const char* name, const Extent& extent) const { json_[name] = detail::to_json(extent); }
  void write(const char* name, const Padding& padding) const { json_[name] = detail::to_json(padding); }

  ordered_json& json_;
};

ordered_json graph_to_json(const Graph& graph) {
  ordered_json nodes = ordered_json::array();
  for (const Node& node : graph.nodes()) {
    ordered_json json = {{"name", node.name}, {"op", op_name(node)}};
    if (!node.inputs.empty()) {
      json["inputs"] = ordered_json::array();
      for (const ValueId input : node.inputs) json["inputs"].push_back(graph.node(input).name);
    }
    visit_fields(node.attrs, FieldWriter(json));
    nodes.push_back(std::move(json));
  }
  return {{"output", graph.node(graph.output()).name}, {"nodes", std::move(nodes)}};
}

ordered_json to_json(const Evaluation& evaluation) {
  ordered_json top1 = {{"dense", evaluation.dense}};
  if (evaluation.pruned) top1["pruned"] = *evaluation.pruned;
  if (evaluation.repaired) top1["repaired"] = *evaluation.repaired;
  return {{"data", evaluation.data}, {"hash", evaluation.hash}, {"samples", evaluation.samples}, {"top1", std::move(top1)}};
}

ordered_json list_of(const History& history) {
  ordered_json list = ordered_json::array();
  for (const HistoryEntry& entry : history) {
    ordered_json cuts = ordered_json::array();
    for (const Cut& cut : entry.cuts) {
      ordered_json scores = ordered_json::array();
      for (const double score : cut.scores) scores.push_back(detail::number_to_json(score));
      cuts.push_back({{"name", cut.name},
                      {"before", cut.before},
                      {"removed", cut.removed},
                      {"kept", cut.kept},
                      {"scores", std::move(scores)}});
    }
    list.push_back({{"action", entry.action},
                    {"criterion", entry.criterion},
                    {"target", entry.target},
                    {"repair", entry.repair},
                    {"source_hash", entry.source_hash},
                    {"replayed", entry.replayed},
                    {"calibration", entry.calibration},
                    {"calibration_samples", entry.calibration_samples},
                    {"tap", entry.tap},
                    {"kernels", entry.kernels},
                    {"repair_data", entry.repair_data},
                    {"repair_samples", entry.repair_samples},
                    {"seed", entry.seed},
                    {"version", entry.version},
                    {"cuts", std::move(cuts)}});
    if (entry.evaluation) list.back()["evaluation"] = to_json(*entry.evaluation);
    if (entry.assumptions.empty()) continue;
    ordered_json assumptions = ordered_json::array();
    for (const Assumption& each : entry.assumptions) {
      assumptions.push_back({{"what", each.what}, {"value", each.value}, {"source", each.source}});
    }
    list.back()["assumptions"] = std::move(assumptions);
  }
  return list;
}

// ---- reading ----

/// Reads an operator's attributes: types and ranges. The rest is checked by the operator (Graph::add).
class FieldReader {
 public:
  explicit FieldReader(detail::JsonObject& from) : json_(from) {}
  void operator()(const char* name, int64_t& value, IntRange range) const {
    value = json_.integer(name, range.low, std::min(range.high, kMaxInt));
  }
  void operator()(const char* name, Extent& extent, IntRange range) const {
    extent = json_.extent(name, range.low, std::min(range.high, kMaxInt));
  }
  void operator()(const char* name, Padding& padding, IntRange range) const {
    padding = json_.padding(name, range.low, std::min(range.high, kMaxInt));
  }
  void operator()(const char* name, bool& value) const { value = json_.boolean(name); }
  void operator()(const char* name, double& value, RealRange which) const {
    value = json_.number(name);
    if (!fits(which, value)) json_.fail(name, "a number, " + std::string(text_of(which)));
  }
  void operator()(const char* name, ImageShape& shape) const {
    const std::vector<int64_t> sizes = json_.integers(name, 1, kMaxInt);
    if (sizes.size() != 3) json_.fail(name, "three sizes: channels, height, width");
    shape = {sizes[0], sizes[1], sizes[2]};
  }
  void operator()(const char* name, std::vector<int32_t>& list) const {
    for (const int64_t each : json_.integers(name, -1, kMaxInt)) list.push_back(static_cast<int32_t>(each));
  }
  template <typename Field>
  void operator()(const char* name, Field& value, const OmittedAt<Field>& at) const {
    value = at.value;
    if (json_.has(name)) (*this)(name, value);
  }
  template <typename Field>
  void operator()(const char* name, Field& value, IntRange range, const OmittedAt<Field>& at) const {
    value = at.value;
    if (json_.has(name)) (*this)(name, value, range);
  }

 private:
  detail::JsonObject& json_;
};

Attrs read_attrs(detail::JsonObject& json) {
  std::optional<Attrs> attrs = attrs_of(json.text("op"));
  if (!attrs) json.fail("op", "an operator that elek has (conv2d, batch_norm, relu, …)");
  visit_fields(*attrs, FieldReader(json));
  return *std::move(attrs);
}

Graph graph_from_json(detail::JsonObject json, const std::string& where) {
  Graph graph;
  json.objects("nodes", [&](detail::JsonObject& node) {
    const std::string name = node.text("name");
    const Attrs attrs = read_attrs(node);
    std::vector<ValueId> inputs;
    if (!std::holds_alternative<InputAttrs>(attrs)) {
      for (const std::string& input : node.texts("inputs")) {
        inputs.push_back(graph.find(input));
        if (inputs.back() < 0) node.fail("inputs", "names of earlier nodes (" + detail::in_quotes(input) + " is none)");
      }
    } else if (!graph.nodes().empty()) {
      node.fail("op", "one input, as the first node");
    }
    // Graph's own checks report defects of the program. Here the same defects come from a file, so they become InputError.
    try {
      graph.add(name, attrs, std::move(inputs));
    } catch (const ContractError& error) {
      throw InputError(where + ": field " + node.path() + ": " + error.what());
    }
  });
  const std::string output = json.text("output");
  if (graph.find(output) < 0) json.fail("output", "the name of a node");
  graph.set_output(graph.find(output));
  json.done();
  return graph;
}

std::vector<float> read_floats(detail::JsonObject& json, const char* field, int64_t count, bool positive) {
  std::vector<float> values;
  for (const double value : json.numbers(field)) {
    values.push_back(static_cast<float>(value));
    if (!std::isfinite(values.back()) || (positive && !(values.back() > 0))) {
      json.fail(field, positive ? "finite numbers above 0" : "finite numbers");
    }
  }
  if (static_cast<int64_t>(values.size()) != count)
    json.fail(field, "a list of " + std::to_string(count) + ", one a channel of the input");
  return values;
}

Cut read_cut(detail::JsonObject& json) {
  Cut cut;
  cut.name = json.text("name");
  cut.before = json.integer("before", 0, kMaxCount);
  cut.removed = json.integer("removed", 0, cut.before);
  cut.kept = json.integers("kept", 0, kMaxCount);
  cut.scores = json.numbers("scores");
  return cut;
}

double read_share(detail::JsonObject& json, const char* field) {
  const double share = json.number(field);
  if (!(share >= 0 && share <= 1)) json.fail(field, "a share from 0 to 1");
  return share;
}

Evaluation read_evaluation(detail::JsonObject json) {
  Evaluation evaluation;
  evaluation.data = json.text("data");
  evaluation.hash = json.text("hash");
  evaluation.samples = json.integer("samples", 1, kMaxCount);
  detail::JsonObject top1 = json.object("top1");
  evaluation.dense = read_share(top1, "dense");
  if (top1.has("pruned")) evaluation.pruned = read_share(top1, "pruned");
  if (top1.has("repaired")) evaluation.repaired = read_share(top1, "repaired");
  top1.done();
  json.done();
  return evaluation;
}

HistoryEntry read_history_entry(detail::JsonObject& json) {
  HistoryEntry entry;
  entry.action = json.text("action");
  entry.criterion = json.text("criterion");
  entry.target = json.text("target");
  entry.repair = json.text("repair");
  entry.source_hash = json.text("source_hash");
  entry.calibration = json.text("calibration");
  entry.calibration_samples = json.integer("calibration_samples", 0, kMaxCount);
  if (json.has("replayed")) {  // files of the first version had none of these
    entry.replayed = json.text("replayed");
    entry.tap = json.text("tap");
    entry.kernels = json.text("kernels");
    entry.repair_data = json.text("repair_data");
    entry.repair_samples = json.integer("repair_samples", 0, kMaxCount);
  }
  entry.seed = json.unsigned_integer("seed");
  entry.version = json.text("version");
  if (json.has("evaluation")) entry.evaluation = read_evaluation(json.object("evaluation"));
  json.objects("cuts", [&](detail::JsonObject& cut) { entry.cuts.push_back(read_cut(cut)); });
  if (json.has("assumptions")) {
    json.objects("assumptions", [&](detail::JsonObject& each) {
      entry.assumptions.push_back({each.text("what"), each.text("value"), each.text("source")});
    });
  }
  return entry;
}

/// The scales of the weights are tensors of the file; here are the names of their layers.
ordered_json quantization_to_json(const Quantization& quantization) {
  ordered_json layers = ordered_json::array(), values = ordered_json::array();
  for (const auto& [name, scales] : quantization.layers) layers.push_back(name);
  for (const auto& [name, grid] : quantization.values) {
    values.push_back({{"name", name}, {"scale", grid.scale}, {"signed", grid.is_signed}});
  }
  return {{"layers", std::move(layers)}, {"values", std::move(values)}};
}

Quantization read_quantization(detail::JsonObject json) {
  Quantization quantization;
  for (const std::string& name : json.texts("layers")) quantization.layers[name];
  json.objects("values", [&](detail::JsonObject& each) {
    quantization.values[each.text("name")] = {static_cast<float>(each.number("scale")), each.boolean("signed")};
  });
  json.done();
  return quantization;
}

}  // namespace

std::string model_to_json(const Model& model) {
  ordered_json document = {{"format", "elek model"},
                           {"version", kVersion},
                           {"architecture", model.architecture},
                           {"graph", graph_to_json(model.graph)},
                           {"preprocessing", {{"mean", model.preprocessing.mean}, {"std", model.preprocessing.stddev}}},
                           {"labels", model.labels},
                           {"history", list_of(model.history)}};
  if (!model.quantization.empty()) document["quantization"] = quantization_to_json(model.quantization);
  return detail::to_text(document);
}

std::string history_to_json(const History& history) { return detail::to_text(list_of(history)); }

Model model_from_json(const std::string& json, const std::string& where) {
  const detail::Json document = detail::parse_json(json, where);
  detail::JsonObject root(document, where, "");
  if (root.text("format") != "elek model") root.fail("format", "\"elek model\"");
  if (root.integer("version", 1, kMaxInt) != kVersion) {
    root.fail("version", "version " + std::to_string(kVersion) + " (a newer elek wrote this file: update elek)");
  }
  Model model;
  model.architecture = root.text("architecture");
  model.graph = graph_from_json(root.object("graph"), where);
  detail::JsonObject preprocessing = root.object("preprocessing");
  model.preprocessing.mean = read_floats(preprocessing, "mean", model.graph.input_shape().channels, false);
  model.preprocessing.stddev = read_floats(preprocessing, "std", model.graph.input_shape().channels, true);
  preprocessing.done();
  model.labels = root.texts("labels");
  const int64_t classes = model.graph.node(model.graph.output()).shape.elements();
  if (!model.labels.empty() && static_cast<int64_t>(model.labels.size()) != classes) {
    root.fail("labels", "none, or one for each of the " + std::to_string(classes) + " outputs");
  }
  root.objects("history", [&](detail::JsonObject& entry) { model.history.push_back(read_history_entry(entry)); });
  if (root.has("quantization")) model.quantization = read_quantization(root.object("quantization"));
  root.done();
  return model;
}

}  // namespace elek
