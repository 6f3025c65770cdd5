// SPDX-License-Identifier: Apache-2.0
// Backend: what a device must be able to do for a session. Three steps, each with its own object: lower() says what it would
// run and with which bytes, the planner turns that into offsets, bind() allocates and gets ready, Executable::run() runs. A
// backend owns the choice of kernels, layouts and kinds of memory; it knows nothing of loops over data or of pruning. The table
// of backends, one entry a kind of device, is backend_of().
// Tests: tests/backends/backend_test.cpp, tests/golden/session_test.cpp, tests/golden/statistics_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/step_times.h"
#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/options.h"
#include "elek/statistics.h"
#include "graph/passes.h"
#include "plan/program.h"

namespace elek {

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
  /// ContractError where the backend starts from pixels only (BackendEntry::starts_from_values).
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

/// Whether devices of a kind compute in a precision.
struct Support {
  enum class Answer : uint8_t {
    kYes,
    kNotHere,  // such devices may, this one does not
    kNever,
  };
  Answer answer = Answer::kYes;
  std::string why_not;  // one line; empty with kYes
};

/// One kind of device: how its backend is made, and what it can do. This is the only place that tells kinds apart: code above
/// asks an entry for a capability. An entry costs nothing and needs no device to be there.
struct BackendEntry {
  DeviceKind kind = DeviceKind::kCpu;
  bool built_in = false;  // this build has the backend, whether the device is there or not
  /// Sessions may start from values in place of pixels (Executable::run_values).
  bool starts_from_values = false;
  /// A hash of the sources of our kernels that are timed. What is kept of times on disk is kept under it, so that times of
  /// other sources are never found. Empty where only a library's kernels are timed.
  std::string_view timed_sources;
  Support (*supports)(Precision precision) = nullptr;
  // DeviceError, saying what is missing, if the backend is not built in or the device is not there.
  std::unique_ptr<Backend> (*make)(const Device& device) = nullptr;
  /// The device's own memory, for the length of the process.
  MemoryResource& (*memory)(const Device& device) = nullptr;
  /// The order of the device's streams, for a Pool over its memory; for the length of the process.
  StreamOrder& (*stream_order)(const Device& device) = nullptr;
};

/// ContractError if there is no such kind.
[[nodiscard]] const BackendEntry& backend_of(DeviceKind kind);

// Each defined twice: in the backend's own backend.cpp, and in absent.cpp where it is not built in.
namespace backends::cpu {
[[nodiscard]] BackendEntry entry() noexcept;
}
namespace backends::cuda {
[[nodiscard]] BackendEntry entry() noexcept;
}

}  // namespace elek
