// SPDX-License-Identifier: Apache-2.0
#include "models/json_reader.h"

#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "models/text.h"

namespace elek::detail {

namespace {

constexpr size_t kMaxDepth = 16;  // elek's files need 6

std::string found_text(const Json& json) {
  if (json.is_string()) return in_quotes(json.get_ref<const std::string&>());
  if (json.is_object() || json.is_array())
    return (json.is_object() ? "an object of " : "a list of ") + std::to_string(json.size());
  return json.dump();
}

[[noreturn]] void wrong(const std::string& where, const std::string& field, const std::string& expected, const Json& found) {
  throw InputError(where + ": field " + field + ": expected " + expected + ", found " + found_text(found) +
                   "; the file is damaged or was not written by elek");
}

bool to_number(const Json& json, double& value) {
  if (json.is_number()) {
    value = json.get<double>();
  } else if (json == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (json == "inf" || json == "-inf") {
    value = json == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  } else {
    return false;
  }
  return true;
}

bool to_integer(const Json& json, int64_t min, int64_t max, int64_t& value) {
  if (!json.is_number_integer()) return false;
  if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return false;
  value = json.get<int64_t>();
  return min <= value && value <= max;
}

std::string range_text(int64_t min, int64_t max) {
  return "an integer from " + std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> keys;  // of the open objects, outermost first
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > static_cast<int>(kMaxDepth)) {
      throw InputError(where + ": the JSON nests deeper than " + std::to_string(kMaxDepth) + " levels; the file is damaged");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      throw InputError(where + ": field " + in_quotes(parsed.get_ref<const std::string&>()) + " appears twice in one object");
    }
    return true;
  };
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {  // the library would take it as the end
    throw InputError(where + ": not valid JSON at byte " + std::to_string(zero) + "; the file is damaged");
  }
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::parse_error& error) {
    throw InputError(where + ": not valid JSON at byte " + std::to_string(error.byte) + "; the file is damaged");
  } catch (const Json::exception& error) {
    throw InputError(where + ": not valid JSON (" + error.what() + "); the file is damaged");
  }
}

std::string to_text(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

nlohmann::ordered_json number_to_json(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

nlohmann::ordered_json to_json(const Extent& extent) {
  if (extent.is_square()) return extent.height;
  return {extent.height, extent.width};
}

nlohmann::ordered_json to_json(const Padding& padding) {
  if (padding.is_even()) return padding.top;
  return {padding.top, padding.left, padding.bottom, padding.right};
}

JsonObject::JsonObject(const Json& json, std::string where, std::string path)
    : json_(json), where_(std::move(where)), path_(std::move(path)) {
  if (!json.is_object()) wrong(where_, path_.empty() ? "(the whole)" : path_, "an object", json);
}

void JsonObject::fail(const char* field, const std::string& expected) const {
  wrong(where_, name(field), expected, json_.at(field));
}

const Json& JsonObject::get(const char* field) {
  const auto at = json_.find(field);
  if (at == json_.end()) {
    throw InputError(where_ + ": field " + name(field) + " is missing; the file is damaged or was not written by elek");
  }
  read_.insert(field);
  return *at;
}

const Json& JsonObject::list(const char* field) {
  const Json& json = get(field);
  if (!json.is_array()) wrong(where_, name(field), "a list", json);
  return json;
}

bool JsonObject::has(const char* field) const { return json_.contains(field); }

std::string JsonObject::text(const char* field) {
  const Json& json = get(field);
  if (!json.is_string()) wrong(where_, name(field), "a string", json);
  return json.get<std::string>();
}

bool JsonObject::boolean(const char* field) {
  const Json& json = get(field);
  if (!json.is_boolean()) wrong(where_, name(field), "true or false", json);
  return json.get<bool>();
}

int64_t JsonObject::integer(const char* field, int64_t min, int64_t max) {
  const Json& json = get(field);
  int64_t value = 0;
  if (!to_integer(json, min, max, value)) wrong(where_, name(field), range_text(min, max), json);
  return value;
}

uint64_t JsonObject::unsigned_integer(const char* field) {
  const Json& json = get(field);
  if (!json.is_number_unsigned()) wrong(where_, name(field), "an integer of 0 or more", json);
  return json.get<uint64_t>();
}

double JsonObject::number(const char* field) {
  const Json& json = get(field);
  double value = 0;
  if (!to_number(json, value)) wrong(where_, name(field), "a number", json);
  return value;
}

std::vector<std::string> JsonObject::texts(const char* field) {
  std::vector<std::string> values;
  for (const Json& json : list(field)) {
    if (!json.is_string()) wrong(where_, name(field), "a list of strings", json);
    values.push_back(json.get<std::string>());
  }
  return values;
}

std::vector<int64_t> JsonObject::integers(const char* field, int64_t min, int64_t max) {
  std::vector<int64_t> values;
  for (const Json& json : list(field)) {
    int64_t value = 0;
    if (!to_integer(json, min, max, value))
      wrong(where_, name(field) + "[" + std::to_string(values.size()) + "]", range_text(min, max), json);
    values.push_back(value);
  }
  return values;
}

std::vector<double> JsonObject::numbers(const char* field) {
  std::vector<double> values;
  for (const Json& json : list(field)) {
    double value = 0;
    if (!to_number(json, value)) wrong(where_, name(field) + "[" + std::to_string(values.size()) + "]", "a number", json);
    values.push_back(value);
  }
  return values;
}

std::vector<int64_t> JsonObject::one_or_list(const char* field, int64_t min, int64_t max, size_t count, const char* names) {
  if (!get(field).is_array()) return {integer(field, min, max)};
  std::vector<int64_t> all = integers(field, min, max);
  if (all.size() != count) fail(field, "one number, or a list of " + std::to_string(count) + ": " + names);
  return all;
}

Extent JsonObject::extent(const char* field, int64_t min, int64_t max) {
  const std::vector<int64_t> all = one_or_list(field, min, max, 2, "height, width");
  return all.size() == 1 ? Extent(all[0]) : Extent(all[0], all[1]);
}

Padding JsonObject::padding(const char* field, int64_t min, int64_t max) {
  const std::vector<int64_t> all = one_or_list(field, min, max, 4, "top, left, bottom, right");
  return all.size() == 1 ? Padding(all[0]) : Padding(all[0], all[1], all[2], all[3]);
}

JsonObject JsonObject::object(const char* field) { return {get(field), where_, name(field)}; }

void JsonObject::objects(const char* field, const std::function<void(JsonObject&)>& read) {
  size_t index = 0;
  for (const Json& json : list(field)) {
    JsonObject object(json, where_, name(field) + "[" + std::to_string(index++) + "]");
    read(object);
    object.done();
  }
}

void JsonObject::members(const char* field, const std::function<void(const std::string&, JsonObject&)>& read) {
  const Json& json = get(field);
  if (!json.is_object()) wrong(where_, name(field), "an object", json);
  for (const auto& [key, value] : json.items()) {
    JsonObject object(value, where_, name(field) + "." + key);
    read(key, object);
    object.done();
  }
}

void JsonObject::done() const {
  for (const auto& [key, value] : json_.items()) {
    if (!read_.contains(key)) {
      throw InputError(where_ + ": field " + name(key) +
                       " is not known to this version of elek; the file was written by a newer one or is damaged");
    }
  }
}

}  // namespace elek::detail
