// SPDX-License-Identifier: Apache-2.0
// Session: a model bound to a device, ready to run. It makes a fixed, small number of allocations when it is built (weights,
// arena, statistics, staging) and none while it runs. Only the session knows the user's batch, the staging slots and the
// micro-batch.
// evaluate() measures accuracy. for_each_batch() is any other loop over data. top_classes() reads logits.
// Tests: tests/golden/session_test.cpp, tests/golden/accuracy_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "elek/batch_source.h"
#include "elek/export.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/options.h"
#include "elek/statistics.h"
#include "elek/types.h"

namespace elek {

// core/step_times.h, plan/program.h: for elek's own tools
struct StepTimes;
struct Program;
struct MemoryPlan;

/// The options for lowering (elek/options.h: precision, batch, threads, probes, memory, …), and the device.
struct SessionOptions : LowerOptions {
  Device device;
  /// Called with the plan before its memory is allocated: for ledgers.
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

/// A device's own memory, which sessions use if `memory` is null. It lives as long as the process. Wrap it to count or to
/// limit. DeviceError if the device is missing.
[[nodiscard]] ELEK_API MemoryResource& default_memory(const Device& device);
/// The order in which the device's streams give blocks back; a Pool over default_memory(device) needs it. DeviceError likewise.
[[nodiscard]] ELEK_API StreamOrder& stream_order(const Device& device);
/// The reason why a session cannot use the device, in one line; empty if it can. For `--device auto`.
[[nodiscard]] ELEK_API std::string why_not(const Device& device);
/// Whether this build has a backend for such devices, present or not.
[[nodiscard]] ELEK_API bool built_with(DeviceKind kind);
/// Whether Session::run_values works on the device.
[[nodiscard]] ELEK_API bool starts_from_values(const Device& device);
/// The reason why sessions on the device cannot compute in this precision, in one line; empty if they can, or if the device
/// itself is missing.
[[nodiscard]] ELEK_API std::string why_not(const Device& device, Precision precision);
/// UsageError if sessions on such devices never have this precision, DeviceError if only this device lacks it. The message says
/// what to ask for instead.
ELEK_API void check_precision(const Device& device, Precision precision);

class ELEK_API Session {
 public:
  /// Lowers, plans, trims the memory and binds. If there is not enough memory, tries again with micro-batches of half the size,
  /// down to one sample (unless micro_batch is set). The session keeps no parameters: move the model in, and each tensor that
  /// nobody else holds is freed as soon as it is packed. OutOfMemory if even one sample does not fit, DeviceError if the device
  /// is missing. After an error nothing stays allocated.
  Session(Model model, SessionOptions options);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  [[nodiscard]] const Graph& graph() const noexcept;
  [[nodiscard]] const SessionOptions& options() const noexcept;
  [[nodiscard]] std::span<Slot> slots() noexcept;  // two staging slots of `batch` samples, for a BatchSource

  /// Runs slot.count samples (1 … batch) and returns the logits [count, classes], f32, row-major, on the host; valid until the
  /// next run. If something is watched, adds to the statistics.
  std::span<const float> run(const Slot& slot);
  /// The same, and the time of every step, in the program's order: for `elek profile`. On a GPU the steps are launched one by
  /// one, not as a graph.
  std::span<const float> run_timed(const Slot& slot, StepTimes& times);
  /// Like run(), but starts from normalised input values instead of pixels: `x` [samples, C, H, W], row-major, on the host, 1 …
  /// batch samples. ContractError if starts_from_values(device) is false, or if the size is wrong.
  std::span<const float> run_values(std::span<const float> x, int64_t samples);

  /// run() in two halves, so that a GPU can copy a batch while it computes the one before. begin() starts a batch and returns
  /// once the slot may be filled again. end() waits for the oldest batch and returns its logits, which are valid until depth()
  /// more batches have begun. At most depth() batches are under way (1 on the CPU, where begin() computes). Call no other
  /// function meanwhile.
  void begin(const Slot& slot);
  [[nodiscard]] std::span<const float> end();
  [[nodiscard]] int depth() const noexcept;

  [[nodiscard]] Statistics statistics() const;  // of all samples run since the last reset
  void reset_statistics();
  [[nodiscard]] std::vector<BatchMoments> batch_moments() const;  // needs options.batch_moments
  /// A stored value of the last run, [samples, C, H, W] row-major; needs options.keep_values. ContractError if no stored value
  /// has this name.
  [[nodiscard]] std::vector<float> stored_value(const std::string& name) const;
  [[nodiscard]] SessionMemory memory() const;
  [[nodiscard]] const Program& program() const noexcept;
  [[nodiscard]] const MemoryPlan& plan() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Called after each batch with the samples done so far and their total.
using Progress = std::function<void(int64_t done, int64_t total)>;

/// Runs up to `max_batches` batches (0 = all) of the source through the session. `visit` (may be empty) gets each batch's
/// labels and logits [count, classes], in order. The slot's pixels are null then: the loader already has them back. Stops the
/// source in any case. Throws Interrupted between batches if asked to stop. Returns the number of samples.
ELEK_API int64_t for_each_batch(Session& session, BatchSource& source, int64_t max_batches, const Progress& progress,
                                const std::function<void(const Slot&, std::span<const float> logits)>& visit = {});

struct Accuracy {
  int64_t samples = 0;
  double top1 = 0;  // fractions
  double top5 = 0;  // 1 if there are at most five classes
  double loss = 0;  // mean cross-entropy, natural logarithm
};
/// InputError if a label is missing or outside the network's classes. Ties in the logits go to the lower class; NaN never wins.
/// `hits`, if given, gets one number per sample, in the source's order: 1 if the label came first. The hits of two networks on
/// the same samples separate their difference from noise far better than their two accuracies do.
[[nodiscard]] ELEK_API Accuracy evaluate(Session& session, BatchSource& source, const Progress& progress = {},
                                         std::vector<uint8_t>* hits = nullptr);

struct ClassProbability {
  size_t index = 0;
  double probability = 0;  // the softmax of its logit, in double
};

/// The `count` classes with the largest logits, best first (all, if there are fewer). Equal logits are ordered by index. NaN
/// comes last, and makes every probability NaN.
[[nodiscard]] ELEK_API std::vector<ClassProbability> top_classes(std::span<const float> logits, size_t count);

}  // namespace elek
