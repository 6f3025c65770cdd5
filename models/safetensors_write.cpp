// SPDX-License-Identifier: Apache-2.0
// Writes the safetensors container. The largest element type comes first and the header is padded, so that every array is
// aligned to its element. core/file.h writes the file whole or not at all.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "models/safetensors.h"
#include "models/text.h"

namespace elek {

namespace {

constexpr size_t kMaxHeaderBytes = 100'000'000;

/// A JSON string literal. InputError if the text is not UTF-8, because JSON cannot hold it.
std::string literal(const std::string& path, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw InputError(path + ": cannot be written: the name " + detail::in_quotes(text) + " is not UTF-8 text; rename it");
  }
}

/// The same for texts that name nothing in the file, such as the path of data: a byte that is not UTF-8 becomes U+FFFD.
std::string text_literal(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<const SafetensorsEntry*> in_file_order(const std::vector<SafetensorsEntry>& entries) {
  std::vector<const SafetensorsEntry*> order;
  std::set<std::string_view> names;
  order.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) {
    size_t bytes = size_of(entry.dtype);
    for (const int64_t dim : entry.shape) {
      ELEK_CHECK(dim >= 0 && !__builtin_mul_overflow(bytes, static_cast<size_t>(dim), &bytes),
                 "tensor " + entry.name + ": shape " + detail::shape_text(entry.shape) + " cannot be");
    }
    ELEK_CHECK(bytes == entry.bytes.size(), "tensor " + entry.name + ": shape " + detail::shape_text(entry.shape) + " takes " +
                                                std::to_string(bytes) + " bytes, got " + std::to_string(entry.bytes.size()));
    ELEK_CHECK(entry.name != "__metadata__" && names.insert(entry.name).second, "tensor name " + entry.name + " is taken");
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) {
    return size_of(a->dtype) != size_of(b->dtype) ? size_of(a->dtype) > size_of(b->dtype) : a->name < b->name;
  });
  return order;
}

/// Length and JSON, padded with spaces so that the data starts on a multiple of eight bytes.
std::string make_header(const std::string& path, const std::vector<const SafetensorsEntry*>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  const auto next = [&json] {
    if (json.back() != '{' && json.back() != '[') json += ',';
  };
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      next();
      json += literal(path, key) + ":" + text_literal(value);
    }
    json += "}";
  }
  size_t offset = 0;
  for (const SafetensorsEntry* entry : order) {
    next();
    json += literal(path, entry->name) + ":{\"dtype\":\"" + std::string(name_of(entry->dtype)) + "\",\"shape\":[";
    for (const int64_t dim : entry->shape) {
      next();
      json += std::to_string(dim);
    }
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + entry->bytes.size()) + "]}";
    offset += entry->bytes.size();
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > kMaxHeaderBytes) {
    throw InputError(path + ": cannot be written: names and metadata take " + std::to_string(json.size()) +
                     " bytes, the format allows " + std::to_string(kMaxHeaderBytes));
  }
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return length + json;
}

}  // namespace

size_t safetensors_bytes(const std::vector<SafetensorsEntry>& entries, const std::map<std::string, std::string>& metadata) {
  size_t bytes = make_header("", in_file_order(entries), metadata).size();
  for (const SafetensorsEntry& entry : entries) bytes += entry.bytes.size();
  return bytes;
}

void write_safetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<const SafetensorsEntry*> order = in_file_order(entries);
  const std::string header = make_header(path, order, metadata);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span<const char>(header))};
  for (const SafetensorsEntry* entry : order) parts.push_back(entry->bytes);
  write_whole_file(path, parts);
}

}  // namespace elek
