// SPDX-License-Identifier: Apache-2.0
// Session: a model bound to a device, ready to run. It makes a fixed handful of allocations when built (weights, arena,
// statistics, staging) and none while it runs. It alone knows the user's batch, the staging slots and the micro-batch.
// Tests: tests/golden/session_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/batch_source.h"
#include "core/memory/resource.h"
#include "core/memory/stream_order.h"
#include "core/statistics.h"
#include "core/step_times.h"
#include "core/types.h"
#include "graph/model.h"
#include "graph/passes.h"
#include "plan/lower_options.h"
#include "plan/program.h"

namespace elek {

/// What lowering is told (plan/lower_options.h: precision, batch, threads, probes, memory, …), and where it runs.
struct SessionOptions : LowerOptions {
  Device device;
  /// Told the plan that is about to be bound, before its memory is asked for: for ledgers.
  std::function<void(const MemoryPlan&)> on_plan;
};

struct SessionMemory {
  size_t weights_bytes = 0;
  size_t arena_bytes = 0;
  size_t lower_bound_bytes = 0;
  size_t activations_bytes = 0;
  size_t workspace_bytes = 0;
  size_t statistics_bytes = 0;
  size_t staging_bytes = 0;
};

// What devices can do. ContractError for a kind of device that elek does not know.

/// A device's own memory, what a session is given where `memory` is null; for the length of the process. Wrap it to count or to
/// limit. DeviceError if the device is not there.
[[nodiscard]] MemoryResource& default_memory(const Device& device);
/// The order in which the device's streams give blocks back: what a Pool over default_memory(device) needs. DeviceError
/// likewise.
[[nodiscard]] StreamOrder& stream_order(const Device& device);
/// One line on why a session cannot use the device; empty if it can. For `--device auto`.
[[nodiscard]] std::string why_not(const Device& device);
/// Whether this build has a backend for such devices at all, there or not.
[[nodiscard]] bool built_with(DeviceKind kind);
/// Whether Session::run_values works there.
[[nodiscard]] bool starts_from_values(const Device& device);
/// One line on why sessions on the device cannot compute so; empty if they can, or if the device itself is what is missing.
[[nodiscard]] std::string why_not(const Device& device, Precision precision);
/// UsageError if sessions on such devices never compute so, DeviceError if this one cannot; with what to ask for instead.
void check_precision(const Device& device, Precision precision);

/// What a session would hold, without building it.
struct SessionEstimate {
  SessionMemory memory;
  size_t packing_bytes = 0;  // held for a moment in the arena's place while binding; 0 where packing finds room in the arena
  Program program;
  MemoryPlan plan;
};
/// Lowers and plans; packs nothing, runs nothing, needs no parameters. Errors as Session's, but for OutOfMemory.
[[nodiscard]] SessionEstimate estimate_memory(const Model& model, SessionOptions options);

/// What options.device does at most in options.precision with options.threads, measured now: a few tenths of a second. Memory,
/// up to 128 MiB, comes from options.memory. DeviceError if the device is not there.
[[nodiscard]] Peaks measure_peaks(const SessionOptions& options);

class Session {
 public:
  /// Lowers, plans, trims the memory and binds; where the memory refuses, again in slices of half the size, down to one sample
  /// (unless micro_batch says otherwise). The session keeps no parameters: move the model in, and each tensor that nobody else
  /// holds is freed as soon as it has been packed. OutOfMemory if the memory refuses even that, DeviceError if the device is
  /// not there; nothing is left behind either way.
  Session(Model model, SessionOptions options);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  [[nodiscard]] const Graph& graph() const noexcept;
  [[nodiscard]] const SessionOptions& options() const noexcept;
  [[nodiscard]] std::span<Slot> slots() noexcept;  // two staging slots of `batch` samples, for a BatchSource

  /// Runs slot.count samples (1 … batch) and returns the logits [count, classes], f32, row-major, on the host; valid until the
  /// next run. Statistics are added up when something is watched.
  std::span<const float> run(const Slot& slot);
  /// The same with the time of every step, in the program's order: for `elek profile`. On a GPU the steps are launched one by
  /// one, not as a graph.
  std::span<const float> run_timed(const Slot& slot, StepTimes& times);
  /// The same from values of the network's input in place of pixels: `x` [samples, C, H, W], row-major, on the host, 1 … batch
  /// samples; preprocessing is left out. ContractError where starts_from_values(device) is false, or if the size is wrong.
  std::span<const float> run_values(std::span<const float> x, int64_t samples);

  /// The same in two halves, so that a GPU copies a batch while it computes the one before: begin() starts it and returns once
  /// the slot may be filled again, end() waits for the oldest begun and gives its logits, valid until depth() more have been
  /// begun. At most depth() batches are under way at a time (1 on the CPU, where begin() computes); nothing else may be asked
  /// meanwhile.
  void begin(const Slot& slot);
  [[nodiscard]] std::span<const float> end();
  [[nodiscard]] int depth() const noexcept;

  [[nodiscard]] Statistics statistics() const;  // of all samples run since the last reset
  void reset_statistics();
  [[nodiscard]] std::vector<BatchMoments> batch_moments() const;  // needs options.batch_moments
  /// A stored value of the last run, [samples, C, H, W] row-major; needs options.keep_values. ContractError if the name is not
  /// a stored value's.
  [[nodiscard]] std::vector<float> stored_value(const std::string& name) const;
  [[nodiscard]] SessionMemory memory() const;
  [[nodiscard]] const Program& program() const noexcept;
  [[nodiscard]] const MemoryPlan& plan() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace elek
