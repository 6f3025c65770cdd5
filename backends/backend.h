// SPDX-License-Identifier: Apache-2.0
// What a device must be able to do for a session, in three steps. lower() says which kernels it would run and how many bytes
// each needs. The planner turns that into offsets. bind() allocates memory and packs the weights; the Executable that it
// returns runs batches. A backend chooses kernels, layouts and kinds of memory. It knows nothing of data loops or of pruning.
// backend_of() is the table of backends, with one entry per kind of device.
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
  size_t packing_bytes = 0;  // largest temporary memory for packing one layer's weights; the arena uses the same place later
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
  /// How many batches may be begun before the first of them is ended.
  [[nodiscard]] virtual int depth() const noexcept = 0;
  /// Starts running slot.count samples (1 … batch). Returns once the pixels have been read. Allocates nothing from any memory
  /// resource.
  virtual void begin(const Slot& slot) = 0;
  /// Waits for the oldest batch. Returns its output [count, elements] on the host, valid until depth() more batches have begun.
  [[nodiscard]] virtual std::span<const float> end() = 0;
  /// begin() and end() in one, and the time of each step. On a GPU the steps are launched one by one for this, not as a CUDA
  /// graph. Costs two clock readings or events per step. Runs without timing pay nothing.
  [[nodiscard]] virtual std::span<const float> run_timed(const Slot& slot, StepTimes& times) = 0;
  /// A run that starts after preprocessing: `x` [samples, C, H, W], row-major on the host, are the normalised input values.
  /// ContractError if the backend starts from pixels only (BackendEntry::starts_from_values).
  [[nodiscard]] virtual std::span<const float> run_values(std::span<const float> x, int64_t samples);
  /// Writes `kernels`, samples, values and tap_norms, over all runs since the last reset.
  virtual void read_statistics(Statistics& statistics) const = 0;
  /// Sets statistics and batch moments back to zero.
  virtual void reset_statistics() = 0;
  [[nodiscard]] virtual std::vector<BatchMoments> batch_moments() const = 0;
  /// Tensor `index` of the program after the last run, [samples, C, H, W] row-major; needs keep_values.
  [[nodiscard]] virtual std::vector<float> stored_value(int32_t index) const = 0;
  [[nodiscard]] virtual BoundMemory memory() const noexcept = 0;
};

/// The result of lowering: the program to plan, and the backend's own notes on how to run it.
class Lowering {
 public:
  Lowering() = default;
  Lowering(const Lowering&) = delete;
  Lowering& operator=(const Lowering&) = delete;
  virtual ~Lowering() = default;
  [[nodiscard]] virtual const Program& program() const noexcept = 0;
  /// What bind() will allocate besides the arena; exact.
  [[nodiscard]] virtual BoundMemory memory() const = 0;
  /// Allocates weights, arena, statistics and staging from `memory` and packs the weights. Call once: it takes over the notes.
  /// `model` must be the model that was lowered. bind() may drop each parameter as soon as it is packed, so that a large
  /// network is not in memory twice. OutOfMemory leaves nothing behind, and the model stays whole unless another user of the
  /// memory took what packing had just freed.
  [[nodiscard]] virtual std::unique_ptr<Executable> bind(Model& model, const MemoryPlan& plan, MemoryResource& memory) = 0;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;
  /// The device's own memory, used if a session is given none.
  [[nodiscard]] virtual MemoryResource& default_memory() = 0;
  /// ContractError if the probes name something that is not there, or the options contradict each other.
  [[nodiscard]] virtual std::unique_ptr<Lowering> lower(const Model& model, const FusedGraph& fused,
                                                        const LowerOptions& options) = 0;
  /// From now on lower() takes kernels of at most this workspace each, where there are such, and those of the least elsewhere:
  /// slower ones, so a session asks for it only if it would not fit. False if this backend has no choice, and changes nothing.
  virtual bool limit_workspace(size_t /*bytes*/) { return false; }
  /// Runs loops that only compute, copy or read, for a few tenths of a second. Their memory comes from options.memory. Sizes
  /// that it refuses are not measured; OutOfMemory if it refuses all.
  [[nodiscard]] virtual Peaks measure_peaks(const LowerOptions& options) = 0;
};

/// Whether devices of a kind can compute in a precision.
struct Support {
  enum class Answer : uint8_t {
    kYes,
    kNotHere,  // other devices of this kind may, this one does not
    kNever,
  };
  Answer answer = Answer::kYes;
  std::string why_not;  // one line; empty with kYes
};

/// One kind of device: how its backend is made, and what it can do. Only this table tells kinds apart; code above asks an entry
/// for a capability. An entry costs nothing, and the device need not be there.
struct BackendEntry {
  DeviceKind kind = DeviceKind::kCpu;
  bool built_in = false;  // this build has the backend, whether the device is there or not
  /// Sessions may start from values instead of pixels (Executable::run_values).
  bool starts_from_values = false;
  /// A hash of the sources of our kernels that are timed. Times on disk are stored under it, so that times of other sources are
  /// never found. Empty if only a library's kernels are timed.
  std::string_view timed_sources;
  Support (*supports)(Precision precision) = nullptr;
  // DeviceError, saying what is missing, if the backend is not built in or the device is not there.
  std::unique_ptr<Backend> (*make)(const Device& device) = nullptr;
  /// The device's own memory. It lives as long as the process.
  MemoryResource& (*memory)(const Device& device) = nullptr;
  /// The order of the device's streams, for a Pool over its memory. It lives as long as the process.
  StreamOrder& (*stream_order)(const Device& device) = nullptr;
};

/// ContractError if there is no such kind.
[[nodiscard]] const BackendEntry& backend_of(DeviceKind kind);

// Each is defined in the backend's own backend.cpp, or in absent.cpp if it is not built in.
namespace backends::cpu {
[[nodiscard]] BackendEntry entry() noexcept;
}
namespace backends::cuda {
[[nodiscard]] BackendEntry entry() noexcept;
}

}  // namespace elek
