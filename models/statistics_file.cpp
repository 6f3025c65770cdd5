// SPDX-License-Identifier: Apache-2.0
// Statistics files. The tensors are the sums; the JSON holds the numbers of channels, samples and positions.
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "core/sums.h"
#include "elek/model.h"
#include "models/json_reader.h"
#include "models/safetensors.h"
#include "models/text.h"

namespace elek {

namespace {

constexpr const char* kKey = "elek.statistics";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxCount = std::numeric_limits<int64_t>::max();

template <typename T>
constexpr DType dtype_of() {
  return std::is_same_v<T, double> ? DType::kF64 : DType::kI64;
}

template <typename T>
std::vector<T> read_array(const SafetensorsFile::Entry& entry, const std::vector<int64_t>& shape, const std::string& where) {
  if (entry.dtype != name_of(dtype_of<T>()) || entry.shape != shape) {
    throw InputError(where + ": tensor " + detail::in_quotes(entry.name) + ": expected " + std::string(name_of(dtype_of<T>())) +
                     " " + detail::shape_text(shape) + ", found " + entry.dtype + " " + detail::shape_text(entry.shape));
  }
  std::vector<T> values(entry.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  if constexpr (std::is_same_v<T, int64_t>) {
    for (const int64_t value : values) {
      if (value < 0)
        throw InputError(where + ": tensor " + detail::in_quotes(entry.name) +
                         ": a count is negative: " + std::to_string(value));
    }
  }
  return values;
}

uint64_t read_hash(detail::JsonObject& json) {
  const std::string text = json.text("model_hash");
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) json.fail("model_hash", "up to 16 hexadecimal digits");
  return value;
}

ValueSums read_value(const std::string& name, detail::JsonObject& json, const SafetensorsFile& file, size_t& used) {
  ValueSums sums;
  sums.channels = json.integer("channels", 1, kMaxInt);
  sums.samples = json.integer("samples", 0, kMaxCount);
  sums.count = json.integer("count", 0, kMaxCount);
  sums.nonfinite = json.integer("nonfinite", 0, kMaxCount);
  // Either all sums of a set are in the file, or none.
  const auto tensor_of = [&](const SumRow& row) { return name + "/" + std::string(row.name); };
  uint32_t sets = 0;
  for_each_sum(
      [&](const SumRow& row, const auto& /*values*/) {
        if (file.entries().contains(tensor_of(row))) sets |= row.set;
      },
      sums);
  for_each_sum(
      [&]<typename T>(const SumRow& row, std::vector<T>& values) {
        if ((sets & row.set) == 0) return;
        values = read_array<T>(file.at(tensor_of(row)), {sums.channels}, file.where());
        ++used;
      },
      sums);
  return sums;
}

TapNorms read_tap_norms(const std::string& name, detail::JsonObject& json, const SafetensorsFile& file, size_t& used) {
  TapNorms norms;
  norms.channels = json.integer("channels", 1, kMaxInt);
  norms.kernel = json.extent("kernel", 1, kMaxInt);
  norms.samples = json.integer("samples", 0, kMaxCount);
  norms.norm_sq =
      read_array<double>(file.at(name + "/norm_sq"), {norms.channels, norms.kernel.height, norms.kernel.width}, file.where());
  ++used;
  return norms;
}

template <typename T>
void append(std::vector<SafetensorsEntry>& entries, const std::string& name, const std::vector<int64_t>& shape,
            const std::vector<T>& values) {
  entries.push_back({name, dtype_of<T>(), shape, std::as_bytes(std::span<const T>(values))});
}

}  // namespace

Statistics load_statistics(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto json = file.metadata().find(kKey);
  if (json == file.metadata().end()) {
    throw Hinted<InputError>(Hint::kTakeStatistics, path + ": expected a statistics file of elek, found none of its metadata");
  }
  const detail::Json document = detail::parse_json(json->second, path);
  detail::JsonObject root(document, path, "");
  if (root.integer("version", 1, kMaxInt) != kVersion) {
    root.fail("version", "version " + std::to_string(kVersion) + " (a newer elek wrote this file: update elek)");
  }
  Statistics statistics;
  statistics.model_hash = read_hash(root);
  const std::string tap = root.text("tap");
  if (tap != "relu" && tap != "conv") root.fail("tap", "\"relu\" or \"conv\"");
  statistics.tap = tap == "relu" ? Tap::kRelu : Tap::kConv;
  statistics.threshold = static_cast<float>(root.number("threshold"));
  statistics.precision = root.text("precision");
  statistics.kernels = root.text("kernels");
  if (root.has("data")) statistics.data = root.text("data");
  statistics.samples = root.integer("samples", 0, kMaxCount);
  size_t used = 0;
  root.members("values", [&](const std::string& name, detail::JsonObject& value) {
    statistics.values.emplace(name, read_value(name, value, file, used));
  });
  root.members("tap_norms", [&](const std::string& name, detail::JsonObject& value) {
    statistics.tap_norms.emplace(name, read_tap_norms(name, value, file, used));
  });
  root.done();
  if (used != file.entries().size()) {
    throw InputError(path + ": expected " + std::to_string(used) + " tensors by its metadata, found " +
                     std::to_string(file.entries().size()) + "; the file was changed or written by a newer elek");
  }
  return statistics;
}

void save_statistics(const Statistics& statistics, const std::string& path) {
  using nlohmann::ordered_json;
  std::vector<SafetensorsEntry> entries;
  ordered_json values = ordered_json::object();
  for (const auto& [name, sums] : statistics.values) {
    values[name] = {
        {"channels", sums.channels}, {"samples", sums.samples}, {"count", sums.count}, {"nonfinite", sums.nonfinite}};
    for_each_sum(
        [&, &value = name, channels = sums.channels](const SumRow& row, const auto& array) {
          if (!array.empty()) append(entries, value + "/" + std::string(row.name), {channels}, array);
        },
        sums);
  }
  ordered_json tap_norms = ordered_json::object();
  for (const auto& [name, norms] : statistics.tap_norms) {
    tap_norms[name] = {{"channels", norms.channels}, {"kernel", detail::to_json(norms.kernel)}, {"samples", norms.samples}};
    append(entries, name + "/norm_sq", {norms.channels, norms.kernel.height, norms.kernel.width}, norms.norm_sq);
  }
  const ordered_json json = {{"version", kVersion},
                             {"model_hash", to_hex(statistics.model_hash)},
                             {"tap", statistics.tap == Tap::kRelu ? "relu" : "conv"},
                             {"threshold", detail::number_to_json(static_cast<double>(statistics.threshold))},
                             {"precision", statistics.precision},
                             {"kernels", statistics.kernels},
                             {"data", statistics.data},
                             {"samples", statistics.samples},
                             {"values", std::move(values)},
                             {"tap_norms", std::move(tap_norms)}};
  write_safetensors(path, entries, {{kKey, detail::to_text(json)}});
}

}  // namespace elek
