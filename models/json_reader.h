// SPDX-License-Identifier: Apache-2.0
// Strict reading of the JSON in model and statistics files. Every field has a type and a range, errors name it, and no field
// may be left over. Internal to models/: it includes nlohmann-json, which users of elek need not have.
// Tests: tests/models/model_file_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "elek/window.h"

namespace elek::detail {

using Json = nlohmann::json;

/// Parses `text`. InputError if it is not JSON, nests deeper than 16 levels, or has a key twice.
[[nodiscard]] Json parse_json(std::string_view text, const std::string& where);
/// The compact text. Bytes that are not UTF-8 (paths and labels may hold any) become U+FFFD.
[[nodiscard]] std::string to_text(const nlohmann::ordered_json& json);
/// Doubles as JSON: numbers, or "nan", "inf", "-inf", for which JSON has no numbers.
[[nodiscard]] nlohmann::ordered_json number_to_json(double value);
/// As JsonObject::extent() and padding() read them: one number where that says all.
[[nodiscard]] nlohmann::ordered_json to_json(const Extent& extent);
[[nodiscard]] nlohmann::ordered_json to_json(const Padding& padding);

/// Reads one object. `where` is the file and `path` the field ("graph.nodes[3]"), both for errors. done() refuses fields that
/// were not read: this version does not understand such a file, so it must not read half of it.
class JsonObject {
 public:
  JsonObject(const Json& json, std::string where, std::string path);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Whether the field exists: only for fields that earlier versions did not write.
  [[nodiscard]] bool has(const char* field) const;
  [[nodiscard]] std::string text(const char* field);
  [[nodiscard]] bool boolean(const char* field);
  [[nodiscard]] int64_t integer(const char* field, int64_t min, int64_t max);
  [[nodiscard]] uint64_t unsigned_integer(const char* field);
  [[nodiscard]] double number(const char* field);  // "nan", "inf" and "-inf" included
  [[nodiscard]] std::vector<std::string> texts(const char* field);
  [[nodiscard]] std::vector<int64_t> integers(const char* field, int64_t min, int64_t max);
  [[nodiscard]] std::vector<double> numbers(const char* field);
  /// One number for both axes, or [height, width].
  [[nodiscard]] Extent extent(const char* field, int64_t min, int64_t max);
  /// One number for all sides, or [top, left, bottom, right].
  [[nodiscard]] Padding padding(const char* field, int64_t min, int64_t max);
  [[nodiscard]] JsonObject object(const char* field);
  /// Calls `read` with each element of a list of objects.
  void objects(const char* field, const std::function<void(JsonObject&)>& read);
  /// Calls `read` with each member of an object of objects.
  void members(const char* field, const std::function<void(const std::string& name, JsonObject&)>& read);
  void done() const;
  [[noreturn]] void fail(const char* field, const std::string& expected) const;  // adds what was found

 private:
  [[nodiscard]] const Json& get(const char* field);
  [[nodiscard]] const Json& list(const char* field);
  [[nodiscard]] std::vector<int64_t> one_or_list(const char* field, int64_t min, int64_t max, size_t count, const char* names);
  [[nodiscard]] std::string name(const std::string& field) const { return path_.empty() ? field : path_ + "." + field; }

  const Json& json_;
  std::string where_, path_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace elek::detail
