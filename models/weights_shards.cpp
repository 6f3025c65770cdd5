// SPDX-License-Identifier: Apache-2.0
// Models in several files: `NAME.safetensors.index.json` and `pytorch_model.bin.index.json` list which file has which tensor.
// Also the choice of tensors by a prefix of their names.
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <system_error>

#include "core/error.h"
#include "core/hint.h"
#include "models/json_reader.h"
#include "models/sniff.h"
#include "models/text.h"
#include "models/weights_readers.h"

namespace elek::detail {

namespace {

constexpr size_t kMostIndexBytes = size_t{16} << 20;  // 100,000 tensors take a tenth of it

/// InputError unless `name` is the plain name of a file in the same folder.
void check_shard_name(const std::string& name, const std::string& where) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.find_first_of("/\\") == std::string::npos &&
                     name.find('\0') == std::string::npos;
  if (!plain) {
    throw InputError(where + ": the shard " + in_quotes(name) +
                     " is not the name of a file beside the index; elek opens no other");
  }
}

std::map<std::string, std::string> weight_map_of(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  if (bytes.size() > kMostIndexBytes) throw InputError(file.where() + ": a JSON text, too large for an index of shards");
  const Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.where());
  const auto map = json.find("weight_map");
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    throw InputError(file.where() + ": a JSON text, but no index of shards (no \"weight_map\" in it); give the weights file");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) throw InputError(file.where() + ": an index of shards, but " + in_quotes(name) + " names no file");
    check_shard_name(shard.get_ref<const std::string&>(), file.where());
    files.emplace(name, shard.get<std::string>());
  }
  if (files.empty()) throw InputError(file.where() + ": an index of shards that lists no tensors");
  return files;
}

WeightsFile::Content read_shard(const std::string& path, const std::string& index) {
  std::error_code code;  // a name that the system does not take, for example one that is too long, is no file either
  if (!std::filesystem::exists(path, code)) {
    throw InputError(index + ": an index of shards, and its shard " +
                     in_quotes(std::filesystem::path(path).filename().string()) +
                     " does not lie beside it; get all files of the model");
  }
  const MappedFile file = MappedFile::open(path);
  switch (const FileKind kind = kind_of(file.bytes())) {
    case FileKind::kSafetensors:
      return content_of_safetensors(SafetensorsFile::parse(file));
    case FileKind::kZip:
      return read_zip_weights(file, "");
    case FileKind::kPickle:
      return read_pickle_weights(file, "");
    default:
      throw InputError(path + ": expected a shard with weights: " + description_of(kind));
  }
}

/// Moves the entries and records of one file behind those of others.
void append(WeightsFile::Content& all, WeightsFile::Content shard) {
  for (WeightsFile::Entry& entry : shard.entries) entry.record += all.records.size();
  std::move(shard.entries.begin(), shard.entries.end(), std::back_inserter(all.entries));
  std::move(shard.records.begin(), shard.records.end(), std::back_inserter(all.records));
}

}  // namespace

WeightsFile::Content read_shards(const MappedFile& file, const std::string& key) {
  const std::map<std::string, std::string> files = weight_map_of(file);
  std::set<std::string> shards;
  for (const auto& [name, shard] : files) shards.insert(shard);
  WeightsFile::Content content;
  content.where = file.where();
  const std::filesystem::path folder = std::filesystem::path(file.where()).parent_path();
  for (const std::string& shard : shards) append(content, read_shard((folder / shard).string(), file.where()));
  std::set<std::string_view> found;
  for (const WeightsFile::Entry& entry : content.entries) found.insert(entry.name);
  for (const auto& [name, shard] : files) {
    if (!found.contains(name)) {
      throw InputError(file.where() + ": tensor " + in_quotes(name) + " is not in the shard " + in_quotes(shard) +
                       "; get all files of the model again");
    }
  }
  take_prefix(content, key);
  return content;
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 10;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() <= kMost ? text : text + " and " + std::to_string(names.size() - kMost) + " more";
}

void take_prefix(WeightsFile::Content& content, const std::string& key) {
  if (key.empty() || key == ".") return;
  const std::string prefix = key + ".";
  std::vector<WeightsFile::Entry> kept;
  std::set<std::string> others;
  for (WeightsFile::Entry& entry : content.entries) {
    if (entry.name.starts_with(prefix)) {
      entry.name.erase(0, prefix.size());
      kept.push_back(std::move(entry));
    } else if (const size_t dot = entry.name.find('.'); dot != std::string::npos) {
      others.insert(in_quotes(entry.name.substr(0, dot)));
    }
  }
  const std::vector<std::string> names(others.begin(), others.end());
  if (kept.empty()) {
    throw InputError(content.where + ": no tensor's name starts with " + in_quotes(prefix) +
                     (names.empty() ? "" : "; the names start with " + listed(names)));
  }
  content.entries = std::move(kept);
  content.notes.push_back("weights taken from the names that start with " + in_quotes(prefix) +
                          (names.empty() ? "" : "; not used: " + listed(names)));
}

}  // namespace elek::detail
