// SPDX-License-Identifier: Apache-2.0
// Any bytes must be imported as a network or refused with an InputError. An imported network is complete, and survives being
// written and read as elek's own JSON. Seeds: tests/fixtures/onnx.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "core/error.h"
#include "models/mapped_file.h"
#include "models/model_file.h"
#include "models/onnx/import.h"

namespace {

/// Stops the fuzzer and keeps the input that caused it.
void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const elek::Imported imported = elek::import_onnx(elek::MappedFile::in_memory(bytes, "fuzz"), {}, elek::host_resource());
    elek::validate(imported.model, "fuzz");
    const std::string json = elek::model_to_json(imported.model);
    require(elek::model_to_json(elek::model_from_json(json, "again")) == json);
  } catch (const elek::InputError&) {
    // The error that a wrong file must give.
  }
  return 0;
}
