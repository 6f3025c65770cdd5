// SPDX-License-Identifier: Apache-2.0
#include "models/config_beside.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "elek/types.h"
#include "models/text.h"

namespace elek::detail {
namespace {

using Json = nlohmann::json;

constexpr std::uintmax_t kMostBytes = 16 << 20;  // a list of 21,000 labels takes 1 MB
constexpr int64_t kLargestSide = 65536;

/// The parsed file; nothing if there is none. What cannot be read is told in `notes`.
std::optional<Json> read_json(const std::filesystem::path& path, std::vector<std::string>& notes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  const std::string name = path.filename().string();
  if (std::filesystem::file_size(path, error) > kMostBytes) {
    notes.push_back(name + " beside it is too large to be a configuration; not used");
    return std::nullopt;
  }
  const std::vector<uint8_t> text = read_whole_file(path.string());
  // A callback that refuses depth keeps a hostile file from deep recursion.
  constexpr int kDeepest = 32;
  bool deep = false;
  Json json = Json::parse(
      text,
      [&](int depth, Json::parse_event_t /*event*/, Json& /*parsed*/) {
        deep = deep || depth > kDeepest;
        return !deep;
      },
      false);
  if (deep || json.is_discarded() || !json.is_object()) {
    notes.push_back(name + " beside it is not valid JSON; not used");
    return std::nullopt;
  }
  return json;
}

const Json* member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

std::optional<int64_t> side_of(const Json* json) {
  if (json == nullptr || !json->is_number_integer()) return std::nullopt;
  const auto value = json->get<int64_t>();
  return value >= 1 && value <= kLargestSide ? std::optional(value) : std::nullopt;
}

std::vector<float> floats_of(const Json* json, bool positive) {
  std::vector<float> values;
  if (json == nullptr || !json->is_array()) return values;
  for (const Json& each : *json) {
    const double value = each.is_number() ? each.get<double>() : std::nan("");
    if (!std::isfinite(value) || (positive && value <= 0)) return {};
    values.push_back(static_cast<float>(value));
  }
  return values;
}

void take_preprocessing(Beside& made, const Json* mean, const Json* stddev, const std::string& from) {
  const std::vector<float> means = floats_of(mean, false);
  const std::vector<float> deviations = floats_of(stddev, true);
  if (means.empty() || means.size() != deviations.size()) return;
  made.preprocessing = Preprocessing{means, deviations};
  made.preprocessing_from = from;
}

/// timm: {"architecture": …, "num_classes": …, "pretrained_cfg": {"input_size": [3, 224, 224], "mean": …, "std": …, …}}
void read_timm(const Json& config, Beside& made) {
  const Json* const trained = member(config, "pretrained_cfg");
  if (trained == nullptr) return;
  if (const Json* size = member(*trained, "input_size"); size != nullptr && size->is_array() && size->size() == 3) {
    made.channels = side_of(&(*size)[0]);
    made.height = side_of(&(*size)[1]);
    made.width = side_of(&(*size)[2]);
    made.input_from = made.config_name;
  }
  take_preprocessing(made, member(*trained, "mean"), member(*trained, "std"), made.config_name);
  if (const Json* names = member(config, "label_names"); names != nullptr && names->is_array()) {
    for (const Json& name : *names) made.labels.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  }
  const Json* const crop = member(*trained, "crop_pct");
  const Json* const filter = member(*trained, "interpolation");
  const bool other_crop = crop != nullptr && crop->is_number() && std::fabs(crop->get<double>() - 0.875) > 1e-3;
  const bool other_filter = filter != nullptr && filter->is_string() && filter->get<std::string>() != "bilinear";
  if (other_crop || other_filter) {
    made.notes.push_back(made.config_name + " asks for images cut to " + (crop != nullptr ? crop->dump() : "0.875") +
                         " of their side and " + (other_filter ? filter->get<std::string>() : "bilinear") +
                         " resizing; elek cuts to 0.875 and resizes with bilinear, so accuracy on photos may differ a little");
  }
}

/// transformers: {"model_type": "resnet", "hidden_act": "relu", "downsample_in_first_stage": false, "id2label": {"0": …}}
void read_transformers(const Json& config, const std::string& where, Beside& made) {
  if (const Json* act = member(config, "hidden_act"); act != nullptr && *act != "relu") {
    throw InputError(where + ": " + made.config_name + " beside it says that the activation is " + act->dump() +
                     "; elek computes relu");
  }
  const auto boolean = [&](const char* name) -> std::optional<bool> {
    const Json* const found = member(config, name);
    return found != nullptr && found->is_boolean() ? std::optional(found->get<bool>()) : std::nullopt;
  };
  made.stride_on_first = boolean("downsample_in_bottleneck");
  made.stride_in_first_stage = boolean("downsample_in_first_stage");
  if (const Json* labels = member(config, "id2label"); labels != nullptr && labels->is_object()) {
    for (size_t i = 0; i < labels->size(); ++i) {
      const Json* const name = member(*labels, std::to_string(i).c_str());
      made.labels.push_back(name != nullptr && name->is_string() ? name->get<std::string>() : std::to_string(i));
    }
  }
}

/// preprocessor_config.json: {"image_mean": …, "image_std": …, "size": 224 | {"shortest_edge": 224} | {"height": …, "width":
/// …}}
void read_pixels(const Json& config, Beside& made) {
  take_preprocessing(made, member(config, "image_mean"), member(config, "image_std"), made.pixels_name);
  const Json* size = member(config, "crop_size");
  if (size == nullptr) size = member(config, "size");
  if (size == nullptr) return;
  const std::optional<int64_t> side = size->is_object() ? side_of(member(*size, "shortest_edge")) : side_of(size);
  made.height = side ? side : side_of(member(*size, "height"));
  made.width = side ? side : side_of(member(*size, "width"));
  if (made.height && made.width) made.input_from = made.pixels_name;
}

/// "0.5,0.5", "[0.5, 0.5]" and "0.5" as a JSON array; null for anything else.
Json numbers_in(const std::string& text) {
  const bool list = text.find_first_of("[(") != std::string::npos;
  std::string inside = text;
  if (list) {
    std::replace(inside.begin(), inside.end(), '(', '[');
    std::replace(inside.begin(), inside.end(), ')', ']');
  } else {
    inside = "[" + inside + "]";
  }
  Json json = Json::parse(inside, nullptr, false);
  return json.is_array() && !json.empty() ? json : Json();
}

}  // namespace

void read_metadata(const std::map<std::string, std::string>& metadata, Beside& made) {
  constexpr const char* kSource = "the file's metadata";
  constexpr size_t kLongest = 1000;  // a few numbers; more is something else
  const auto numbers = [&](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() || found->second.size() > kLongest ? Json() : numbers_in(found->second);
  };
  const Json mean = numbers("mean");
  const Json stddev = numbers("std");
  const std::vector<float> means = floats_of(&mean, false);
  const std::vector<float> deviations = floats_of(&stddev, true);
  if (!means.empty() && means.size() == deviations.size()) {
    made.preprocessing = Preprocessing{means, deviations};
    made.preprocessing_from = kSource;
  } else if (metadata.contains("mean") || metadata.contains("std")) {
    made.notes.emplace_back("its metadata has a mean or std, but not one number a channel for each; not used");
  }
  const char* const name = metadata.contains("input") ? "input" : "input_size";
  if (!metadata.contains(name)) return;
  const Json size = numbers(name);
  const bool three = size.is_array() && size.size() == 3;
  const std::optional<int64_t> channels = three ? side_of(&size[0]) : std::nullopt;
  const std::optional<int64_t> height = three ? side_of(&size[1]) : std::nullopt;
  const std::optional<int64_t> width = three ? side_of(&size[2]) : std::nullopt;
  if (channels && height && width) {
    made.channels = channels;
    made.height = height;
    made.width = width;
    made.input_from = kSource;
  } else {
    made.notes.push_back(std::string("its metadata has \"") + name + "\", but not as channels,height,width; not used");
  }
}

Beside read_beside(const std::string& weights) {
  const std::filesystem::path folder = std::filesystem::path(weights).parent_path();
  Beside made;
  if (const std::optional<Json> config = read_json(folder / "config.json", made.notes)) {
    const Json* const type = member(*config, "model_type");
    const bool is_resnet = type != nullptr && *type == "resnet";
    if (member(*config, "pretrained_cfg") != nullptr || is_resnet) made.config_name = "config.json";
    if (!made.config_name.empty()) read_timm(*config, made);
    if (is_resnet) read_transformers(*config, weights, made);
  }
  if (made.config_name.empty()) return made;  // pixels alone might be of anything
  if (const std::optional<Json> pixels = read_json(folder / "preprocessor_config.json", made.notes)) {
    made.pixels_name = "preprocessor_config.json";
    read_pixels(*pixels, made);
  }
  return made;
}

}  // namespace elek::detail
