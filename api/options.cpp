// SPDX-License-Identifier: Apache-2.0
#include "api/options.h"

#include <algorithm>
#include <array>
#include <string>

#include "api/error.h"
#include "api/growing.h"
#include "engine/estimate.h"
#include "graph/passes.h"
#include "plan/program.h"

namespace elek::api {
namespace {

// The sizes of version 0.1. Structs may grow, but never shrink.
constexpr size_t kFirstOptionsBytes = offsetof(elek_options, memory_context) + sizeof(void*);
constexpr size_t kFirstMemoryBytes = offsetof(elek_memory, peak_bytes) + sizeof(size_t);

constexpr std::array kPrecisions = {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16,
                                    Precision::kInt8};  // index: ELEK_PRECISION_

constexpr int64_t kMostBatch = 65536;
constexpr int32_t kMostThreads = 1024;

Precision precision_of(int32_t precision) {
  if (precision < 0 || static_cast<size_t>(precision) >= kPrecisions.size()) {
    throw UsageError("options: precision is " + std::to_string(precision) + ", expected one of ELEK_PRECISION_...");
  }
  return kPrecisions[static_cast<size_t>(precision)];
}

/// Watches the output of every ReLU. These values are stored in any order of the steps.
Probes relu_probes(const Graph& graph) {
  Probes probes;
  for (const FusedNode& step : fuse(graph).steps) {
    if (graph.node(step.output).is<ReluAttrs>()) probes.values[graph.node(step.output).name] = kActivity;
  }
  return probes;
}

}  // namespace

elek_options known_options(const elek_options* given) {
  return given == nullptr ? elek_default_options() : read_growing(*given, kFirstOptionsBytes, "elek_options");
}

Device device_of(int32_t device, int32_t index) {
  if (device != ELEK_DEVICE_CPU && device != ELEK_DEVICE_CUDA) {
    throw UsageError("device is " + std::to_string(device) + ", expected one of ELEK_DEVICE_...");
  }
  require(index >= 0, "device_index is negative");
  require(device != ELEK_DEVICE_CPU || index == 0, "device_index of the CPU must be 0");
  return {device == ELEK_DEVICE_CPU ? DeviceKind::kCpu : DeviceKind::kCuda, index};
}

SessionOptions session_options(const elek_options& options, const Graph& graph) {
  if (options.batch < 0 || options.batch > kMostBatch) {
    throw UsageError("options: batch is " + std::to_string(options.batch) + ", expected 0 to " + std::to_string(kMostBatch));
  }
  if (options.threads < 0 || options.threads > kMostThreads) {
    throw UsageError("options: threads is " + std::to_string(options.threads) + ", expected 0 to " +
                     std::to_string(kMostThreads));
  }
  SessionOptions made;
  made.device = device_of(options.device, options.device_index);
  made.precision = precision_of(options.precision);
  made.batch = std::max<int64_t>(options.batch, 1);
  made.threads = options.threads;
  made.deterministic = options.deterministic != 0;
  if (options.watch != 0) made.probes = relu_probes(graph);
  return made;
}

elek_memory memory_figures(const SessionMemory& memory, size_t packing_bytes, const Program& program) {
  elek_memory made = elek_empty_memory();
  made.weights_bytes = memory.weights_bytes;
  made.arena_bytes = memory.arena_bytes;
  made.statistics_bytes = memory.statistics_bytes;
  made.staging_bytes = memory.staging_bytes;
  made.needed_bytes = block_bytes(memory, packing_bytes);
  made.micro_batch = program.micro_batch;
  return made;
}

void write_memory(elek_memory* to, const elek_memory& from) {
  require(to != nullptr, "the pointer for the memory figures is null");
  write_growing(to, from, kFirstMemoryBytes, "elek_memory");
}

}  // namespace elek::api
