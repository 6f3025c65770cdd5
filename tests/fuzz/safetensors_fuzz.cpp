// SPDX-License-Identifier: Apache-2.0
// Any bytes must be read as a container or a model's JSON, or refused with an InputError. The first byte chooses how: raw bytes
// as a file, a header with a corrected length (so that mutations pass the first check), or a model's JSON alone. Accepted input
// is read to its last byte, and an accepted graph must survive being written and read again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "core/error.h"
#include "models/model_file.h"
#include "models/safetensors.h"

namespace {

/// Stops the fuzzer and keeps the input that caused it.
void require(bool holds) {
  if (!holds) std::abort();
}

void read_json(const std::string& json) {
  const elek::Model model = elek::model_from_json(json, "fuzz");
  const std::string written = elek::model_to_json(model);
  require(elek::model_to_json(elek::model_from_json(written, "again")) == written);
}

void read_container(const std::string& bytes) {
  const auto file = elek::SafetensorsFile::parse(std::as_bytes(std::span<const char>(bytes)), "fuzz");
  uint64_t sum = 0;
  size_t total = 0;
  for (const auto& [name, entry] : file.entries()) {
    require(entry.name == name);
    total += entry.bytes.size();
    for (const std::byte byte : entry.bytes) sum += std::to_integer<uint64_t>(byte);
  }
  require(total <= bytes.size() && sum <= 255 * total);
  if (const auto json = file.metadata().find("elek"); json != file.metadata().end()) {
    const elek::Model model = elek::model_from_json(json->second, "fuzz");
    // A tensor may take at most twice its bytes in the file (if halves are widened).
    (void)elek::load_weights(elek::WeightsFile(file), model.graph, elek::host_resource());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'j') {
      read_json(text);
    } else if (data[0] == 'h') {  // header, a newline, data
      const size_t length = std::min(text.find('\n'), text.size());
      std::string bytes(8, '\0');
      for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((length >> (8 * i)) & 0xff);
      read_container(bytes + text.substr(0, length) + (length < text.size() ? text.substr(length + 1) : ""));
    } else {
      read_container(text);
    }
  } catch (const elek::InputError&) {
    // The error that a wrong file must give.
  }
  return 0;
}
