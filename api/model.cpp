// SPDX-License-Identifier: Apache-2.0
// The C interface's functions on models. The C++ library does the work; this file checks arguments and turns errors into codes.
// Tests: tests/api/model_test.cpp
#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "api/error.h"
#include "api/handles.h"
#include "api/options.h"
#include "core/file.h"
#include "data/image.h"
#include "elek/session.h"
#include "engine/estimate.h"
#include "models/model_file.h"

namespace elek::api {
namespace {

size_t classes_of(const elek_model& model) {
  const Graph& graph = model.model.graph;
  return static_cast<size_t>(graph.node(graph.output()).shape.elements());
}

void give(elek_model** to, Model model) { *to = std::make_unique<elek_model>(std::move(model)).release(); }

/// Decodes into the caller's pixels, which must have the network's size.
void decode(const elek_model* model, std::span<const uint8_t> file, uint8_t* pixels, size_t pixels_bytes,
            const std::string& where) {
  const ImageShape& shape = model->model.graph.input_shape();
  const auto expected = static_cast<size_t>(shape.elements());
  if (pixels_bytes != expected) {
    throw UsageError("pixels_bytes is " + std::to_string(pixels_bytes) +
                     ", expected height * width * channels = " + std::to_string(expected));
  }
  decode_image(file, shape, {pixels, pixels_bytes}, where);
}

}  // namespace
}  // namespace elek::api

using elek::api::guarded;
using elek::api::require;

const char* elek_version() { return ELEK_VERSION; }

elek_status elek_model_load(const char* path, elek_model** model) {
  return guarded(nullptr, [&] {
    require(path != nullptr && model != nullptr, "elek_model_load: an argument is null");
    elek::api::give(model, elek::load_model(path, elek::host_resource()));
  });
}

elek_status elek_model_load_memory(const void* bytes, size_t size, elek_model** model) {
  return guarded(nullptr, [&] {
    require(bytes != nullptr && model != nullptr, "elek_model_load_memory: an argument is null");
    const auto file = elek::SafetensorsFile::parse({static_cast<const std::byte*>(bytes), size}, "model in memory");
    elek::api::give(model, elek::load_model(file, elek::host_resource()));
  });
}

void elek_model_free(elek_model* model) { delete model; }

elek_status elek_model_shape(const elek_model* model, elek_shape* shape) {
  return guarded(nullptr, [&] {
    require(model != nullptr && shape != nullptr, "elek_model_shape: an argument is null");
    const elek::ImageShape& input = model->model.graph.input_shape();
    *shape = {input.channels, input.height, input.width, static_cast<int64_t>(elek::api::classes_of(*model))};
  });
}

const char* elek_model_label(const elek_model* model, int64_t index) {
  if (model == nullptr || index < 0 || static_cast<size_t>(index) >= model->model.labels.size()) return nullptr;
  return model->model.labels[static_cast<size_t>(index)].c_str();
}

elek_status elek_model_read_image(const elek_model* model, const char* path, uint8_t* pixels, size_t pixels_bytes) {
  return guarded(nullptr, [&] {
    require(model != nullptr && path != nullptr && pixels != nullptr, "elek_model_read_image: an argument is null");
    elek::api::decode(model, elek::read_whole_file(path), pixels, pixels_bytes, path);
  });
}

elek_status elek_model_decode_image(const elek_model* model, const void* file, size_t size, uint8_t* pixels,
                                    size_t pixels_bytes) {
  return guarded(nullptr, [&] {
    require(model != nullptr && file != nullptr && pixels != nullptr, "elek_model_decode_image: an argument is null");
    elek::api::decode(model, {static_cast<const uint8_t*>(file), size}, pixels, pixels_bytes, "image in memory");
  });
}

elek_status elek_model_top_k(const elek_model* model, const float* logits, size_t k, elek_class* top) {
  return guarded(nullptr, [&] {
    require(model != nullptr && logits != nullptr && top != nullptr, "elek_model_top_k: an argument is null");
    const size_t classes = elek::api::classes_of(*model);
    if (k < 1 || k > classes) {
      throw elek::UsageError("k is " + std::to_string(k) + ", expected 1 to " + std::to_string(classes) +
                             ", the number of classes");
    }
    for (const elek::ClassProbability& one : elek::top_classes({logits, classes}, k)) {
      const auto index = static_cast<int64_t>(one.index);
      *top++ = {index, one.probability, elek_model_label(model, index)};
    }
  });
}

elek_status elek_model_memory(const elek_model* model, const elek_options* options, elek_memory* memory) {
  return guarded(nullptr, [&] {
    require(model != nullptr, "elek_model_memory: the model is null");
    const elek_options known = elek::api::known_options(options);
    const elek::SessionEstimate estimate =
        elek::estimate_memory(model->model, elek::api::session_options(known, model->model.graph));
    elek::api::write_memory(memory, elek::api::memory_figures(estimate.memory, estimate.packing_bytes, estimate.program));
  });
}

elek_status elek_device_available(int32_t device, int32_t device_index) {
  return guarded(nullptr, [&] {
    const std::string reason = elek::why_not(elek::api::device_of(device, device_index));
    if (!reason.empty()) throw elek::DeviceError(reason);
  });
}
