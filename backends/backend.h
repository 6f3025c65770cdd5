// SPDX-License-Identifier: Apache-2.0
// Backend: what a device must be able to do for a session. Three steps, each with its own object: lower() says what it would
// run and with which bytes, the planner turns that into offsets, bind() allocates and gets ready, Executable::run() runs. A
// backend owns the choice of kernels, layouts and kinds of memory; it knows nothing of loops over data or of pruning. Tests:
// tests/golden/session_test.cpp, tests/golden/statistics_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/batch_source.h"
#include "core/memory/resource.h"
#include "core/memory/stream_order.h"
#include "core/statistics.h"
#include "core/step_times.h"
#include "graph/model.h"
#include "graph/passes.h"
#include "plan/program.h"

namespace elek {

struct LowerOptions {
  int64_t batch = 1;        // samples a run may hold
  int64_t micro_batch = 0;  // 0 = the backend's choice
  int threads = 0;          // CPU threads; 0 = all
  Probes probes;
  BatchNorm batch_norm = BatchNorm::kFold;
  bool batch_moments = false;
  bool deterministic = false;
  Winograd winograd = Winograd::kAuto;         // CPU only; deterministic turns it off
  KernelChoice kernels = KernelChoice::kRule;  // CPU only; where results must be exact or exactly repeated, the rule decides
  bool keep_values = false;                    // every stored value keeps its own storage to the end
  Precision precision = Precision::kF32;
  /// The session's memory: what lowering needs for a moment (to time one kernel against another) comes from it too. Null = the
  /// backend's own.
  MemoryResource* memory = nullptr;
};

struct BoundMemory {
  size_t weights_bytes = 0;
  size_t statistics_bytes = 0;
  size_t staging_bytes = 0;
  size_t packing_bytes = 0;  // what packing one layer's weights needs for a moment, in the place that the arena then takes
};

/// A program bound to memory. Not thread-safe: one run at a time.
class Executable {
 public:
  Executable() = default;
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  virtual ~Executable() = default;
  /// The two staging slots.
  [[nodiscard]] virtual std::span<Slot> slots() noexcept = 0;
  /// Batches that may be begun before the first of them is ended.
  [[nodiscard]] virtual int depth() const noexcept = 0;
  /// Starts running slot.count samples (1 … batch) and returns once the pixels have been read. Allocates nothing from any
  /// memory resource.
  virtual void begin(const Slot& slot) = 0;
  /// Waits for the oldest batch begun; its output [count, elements] on the host, valid until depth() more have been begun.
  [[nodiscard]] virtual std::span<const float> end() = 0;
  /// begin() and end() in one, with the time of each step. What is measured is the steps one by one: where they would be one
  /// launch (a CUDA graph) they are not. Costs two clock readings or events a step; runs that are not timed pay nothing.
  [[nodiscard]] virtual std::span<const float> run_timed(const Slot& slot, StepTimes& times) = 0;
  /// A whole run without the first step: `x` [samples, C, H, W], row-major on the host, is what it would have made of pixels.
  /// ContractError where the backend starts from pixels only (the GPU's, so far).
  [[nodiscard]] virtual std::span<const float> run_values(std::span<const float> x, int64_t samples);
  /// Writes `kernels`, samples, values and tap_norms of everything run since the last reset.
  virtual void read_statistics(Statistics& statistics) const = 0;
  /// Statistics and batch moments start again from nothing.
  virtual void reset_statistics() = 0;
  [[nodiscard]] virtual std::vector<BatchMoments> batch_moments() const = 0;
  /// Tensor `index` of the program as the last run left it, [samples, C, H, W] row-major; needs keep_values.
  [[nodiscard]] virtual std::vector<float> stored_value(int32_t index) const = 0;
  [[nodiscard]] virtual BoundMemory memory() const noexcept = 0;
};

/// What lowering decided: the program to plan, and the backend's own notes on how to run it.
class Lowering {
 public:
  Lowering() = default;
  Lowering(const Lowering&) = delete;
  Lowering& operator=(const Lowering&) = delete;
  virtual ~Lowering() = default;
  [[nodiscard]] virtual const Program& program() const noexcept = 0;
  /// What bind() will allocate beside the arena; exact.
  [[nodiscard]] virtual BoundMemory memory() const = 0;
  /// Allocates weights, arena, statistics and staging from `memory`, packs the weights and makes ready. Takes the notes with
  /// it: call once. `model` is the one that was lowered; parameters may be dropped from it as soon as they are packed, so that
  /// both forms of a large network need not be in memory at once. OutOfMemory leaves nothing behind, and the model whole,
  /// unless somebody else took what packing had just given back.
  [[nodiscard]] virtual std::unique_ptr<Executable> bind(Model& model, const MemoryPlan& plan, MemoryResource& memory) = 0;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;
  /// The device's own memory, used where a session is given none.
  [[nodiscard]] virtual MemoryResource& default_memory() = 0;
  /// ContractError if the probes name what is not there, or the options contradict each other.
  [[nodiscard]] virtual std::unique_ptr<Lowering> lower(const Model& model, const FusedGraph& fused,
                                                        const LowerOptions& options) = 0;
  /// Runs loops that only compute, copy and read, for a few tenths of a second. Their memory comes from options.memory; sets
  /// that it refuses are not measured, unless it refuses all (OutOfMemory).
  [[nodiscard]] virtual Peaks measure_peaks(const LowerOptions& options) = 0;
};

/// The device's own memory, for the length of the process. DeviceError as make_backend.
[[nodiscard]] MemoryResource& device_memory(const Device& device);
/// The order of the device's streams, for a Pool over its memory; for the length of the process. DeviceError as make_backend.
[[nodiscard]] StreamOrder& device_stream_order(const Device& device);
/// Whether this build has a backend for such devices, there or not.
[[nodiscard]] bool is_built_in(DeviceKind kind) noexcept;
/// One line on why the device cannot be used; empty if it can.
[[nodiscard]] std::string why_unavailable(const Device& device);

/// The backend of a device. DeviceError if it is not built in or the device is not there.
[[nodiscard]] std::unique_ptr<Backend> make_backend(const Device& device);

// One a backend; an absent one's file throws DeviceError.
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const Device& device);
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(const Device& device);
[[nodiscard]] MemoryResource& cuda_device_memory(const Device& device);
[[nodiscard]] StreamOrder& cuda_stream_order(const Device& device);
[[nodiscard]] bool cpu_is_built_in() noexcept;
/// Whether this CPU multiplies bf16 in hardware.
[[nodiscard]] bool cpu_has_bf16() noexcept;
[[nodiscard]] bool cuda_is_built_in() noexcept;

}  // namespace elek
