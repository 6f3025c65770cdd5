// SPDX-License-Identifier: Apache-2.0
// The C interface's functions on sessions.
// Tests: tests/api/session_test.cpp, tests/api/memory_test.cpp, tests/api/statistics_test.cpp
#include "elek/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "api/error.h"
#include "api/handles.h"
#include "api/options.h"
#include "engine/batch_loop.h"
#include "models/model_file.h"

namespace elek::api {
namespace {

/// Runs the caller's pixels, batch by batch, through the session's slots, where the device reads them. Asks the heap for
/// nothing, so it does not use for_each_batch(), whose visitor and labels may.
void run_pixels(Session& session, const uint8_t* pixels, size_t samples, float* logits) {
  BatchesUnderWay<Session> under_way(session);
  const auto end_oldest = [&] {
    under_way.end(
        [&](const Slot& /*slot*/, std::span<const float> made) { logits = std::copy(made.begin(), made.end(), logits); });
  };
  const std::span<const Slot> slots = session.slots();
  auto left = static_cast<int64_t>(samples);
  for (size_t turn = 0; left > 0; ++turn) {
    Slot slot = slots[turn % slots.size()];
    slot.labels = nullptr;
    slot.count = std::min(slot.capacity, left);
    const auto bytes = static_cast<size_t>(slot.count * slot.shape.elements());
    std::memcpy(slot.pixels, pixels, bytes);
    pixels += bytes;
    left -= slot.count;
    under_way.begin(slot);
    if (under_way.full()) end_oldest();
  }
  while (!under_way.empty()) end_oldest();
}

void give(elek_session** to, Model model, const elek_options* options) {
  require(to != nullptr, "elek_session_open: the pointer for the session is null");
  *to = std::make_unique<elek_session>(std::move(model), known_options(options)).release();
}

void run_values(Session& session, const float* values, size_t samples, float* logits) {
  const auto each = static_cast<size_t>(session.graph().input_shape().elements());
  const auto batch = static_cast<size_t>(session.options().batch);
  for (size_t done = 0; done < samples; done += batch) {
    const size_t count = std::min(batch, samples - done);
    const std::span<const float> made = session.run_values({values + done * each, count * each}, static_cast<int64_t>(count));
    logits = std::copy(made.begin(), made.end(), logits);
  }
}

/// Where the session keeps the text of its last error.
ErrorText* text_of(const elek_session* session) { return session == nullptr ? nullptr : &session->error; }

/// One channel's figures from the sums.
elek_channel channel_of(const ValueSums& sums, size_t channel) {
  if (sums.count == 0) return {};
  const auto count = static_cast<double>(sums.count);
  return {static_cast<double>(sums.active[channel]) / count, sums.sum[channel] / count,
          std::sqrt(sums.sum_sq[channel] / count)};
}

}  // namespace
}  // namespace elek::api

using elek::api::guarded;
using elek::api::require;
using elek::api::text_of;

elek_session::elek_session(elek::Model given, const elek_options& options)
    : model({.architecture = given.architecture,
             .graph = given.graph,
             .parameters = {},
             .preprocessing = given.preprocessing,
             .labels = given.labels,
             .history = {}}),
      memory(options) {
  if (given.parameters.empty()) {
    throw elek::UsageError("this model has no weights, because it belongs to a session; open sessions from the loaded model");
  }
  elek::SessionOptions made = elek::api::session_options(options, model.model.graph);
  made.memory = &memory.resource();
  session.emplace(std::move(given), made);
}

elek_status elek_session_open(const elek_model* model, const elek_options* options, elek_session** session) {
  return guarded(nullptr, [&] {
    require(model != nullptr, "elek_session_open: the model is null");
    elek::api::give(session, model->model, options);
  });
}

elek_status elek_session_open_file(const char* path, const elek_options* options, elek_session** session) {
  return guarded(nullptr, [&] {
    require(path != nullptr, "elek_session_open_file: the path is null");
    elek::api::give(session, elek::load_model(path, elek::host_resource()), options);
  });
}

elek_status elek_session_open_memory(const void* bytes, size_t size, const elek_options* options, elek_session** session) {
  return guarded(nullptr, [&] {
    require(bytes != nullptr, "elek_session_open_memory: the pointer to the file is null");
    const auto file = elek::SafetensorsFile::parse({static_cast<const std::byte*>(bytes), size}, "model in memory");
    elek::api::give(session, elek::model_in_place(file, elek::host_resource()), options);
  });
}

void elek_session_close(elek_session* session) { delete session; }

const elek_model* elek_session_model(const elek_session* session) { return session == nullptr ? nullptr : &session->model; }

const char* elek_last_error(const elek_session* session) {
  return session == nullptr ? elek::api::thread_error().get() : session->error.get();
}

elek_status elek_session_run_pixels(elek_session* session, const uint8_t* pixels, size_t samples, float* logits) {
  return guarded(text_of(session), [&] {
    require(session != nullptr && pixels != nullptr && logits != nullptr, "elek_session_run_pixels: an argument is null");
    elek::api::run_pixels(*session->session, pixels, samples, logits);
  });
}

elek_status elek_session_run_values(elek_session* session, const float* values, size_t samples, float* logits) {
  return guarded(text_of(session), [&] {
    require(session != nullptr && values != nullptr && logits != nullptr, "elek_session_run_values: an argument is null");
    require(elek::starts_from_values(session->session->options().device),
            "elek_session_run_values: this device runs only pixels; run values on the CPU");
    elek::api::run_values(*session->session, values, samples, logits);
  });
}

elek_status elek_session_memory(const elek_session* session, elek_memory* memory) {
  return guarded(text_of(session), [&] {
    require(session != nullptr, "elek_session_memory: the session is null");
    const elek::Session& open = *session->session;
    elek_memory made = elek::api::memory_figures(open.memory(), 0, open.program());
    const elek::Tracker::Figures figures = session->memory.figures();
    made.held_bytes = figures.live_bytes;
    made.peak_bytes = figures.peak_bytes;
    elek::api::write_memory(memory, made);
  });
}

const char* elek_session_watched(const elek_session* session, size_t index) {
  if (session == nullptr) return nullptr;
  const auto& values = session->session->options().probes.values;
  if (index >= values.size()) return nullptr;
  return std::next(values.begin(), static_cast<std::ptrdiff_t>(index))->first.c_str();
}

elek_status elek_session_statistics(const elek_session* session, const char* value, elek_channel* channels, size_t capacity,
                                    size_t* count) {
  return guarded(text_of(session), [&] {
    require(session != nullptr && value != nullptr && count != nullptr && (channels != nullptr || capacity == 0),
            "elek_session_statistics: an argument is null");
    const elek::Statistics statistics = session->session->statistics();
    const auto found = statistics.values.find(value);
    if (found == statistics.values.end()) {
      throw elek::UsageError(std::string("'") + value + "' is not watched" +
                             (statistics.values.empty() ? "; open the session with options.watch" : ""));
    }
    const elek::ValueSums& sums = found->second;
    const auto size = static_cast<size_t>(sums.channels);
    require(capacity == 0 || capacity >= size, "elek_session_statistics: capacity is less than the value's channels");
    *count = size;
    if (capacity == 0) return;
    for (size_t c = 0; c < size; ++c) channels[c] = elek::api::channel_of(sums, c);
  });
}

elek_status elek_session_reset_statistics(elek_session* session) {
  return guarded(text_of(session), [&] {
    require(session != nullptr, "elek_session_reset_statistics: the session is null");
    session->session->reset_statistics();
  });
}
