// SPDX-License-Identifier: Apache-2.0
// Finds the best plan of each problem. It is read from the cache on disk. If it is not there, candidates are built (in parallel
// threads) and timed on the device (one after another); the fastest is kept and cached. Equal problems are built once.
// Tests: tests/deviceless/lower_test.cpp, tests/simt/engine/plan_choice_test.cpp, tests/gpu/backend_conv_test.cpp
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/cuda/device.h"
#include "backends/plan_cache.h"
#include "elek/memory.h"

namespace elek::backends::cuda {

struct Planned {
  ConvPlan plan;                           // valid, or see `no`
  std::string no;                          // the reason why there is no plan
  double time_us = 0;                      // 0 = not timed
  std::string rivals;                      // what was timed, and what refused
  std::optional<std::string> no_in_place;  // set once it was asked for
};
using PlanTable = std::map<std::string, Planned>;

/// What plans are made for. Without a handle nothing is timed, and the first candidate that builds is taken: so tests can lower
/// programs for devices that are not there.
struct Target {
  DeviceFacts facts;
  DeviceModel model;
  int64_t cudnn_version = 0;
  cudnnContext* handle = nullptr;
  CUstream_st* stream = nullptr;      // of the handle
  MemoryResource* scratch = nullptr;  // for timing
  std::string cache_directory;        // empty = no cache
  /// The reason why a plan must not write over its residual (in_place.h). If not set, it is not tried and no plan does.
  std::function<std::string(const ConvPlan&)> why_not_in_place;
  /// Plans that were found before for this device. A backend hands them on, so that a program that is lowered twice gets the
  /// same kernels, and nothing is timed twice. May be null.
  std::shared_ptr<PlanTable> known;
};

/// Median time of one call of `enqueue` on the stream, warm. The calls are recorded and replayed: a small kernel is faster than
/// the CPU that starts it, and call by call the CPU would be timed. What cannot be recorded is timed call by call.
[[nodiscard]] double time_us(CUstream_st* stream, const std::function<void()>& enqueue);

/// How hard a kernel is looked for.
enum class Effort : uint8_t {
  kFull,
  kPrecompiled,  // no kernel is compiled: for a way that is rarely the fastest
};

class PlanStore {
 public:
  explicit PlanStore(const Target& target)
      : target_(target),
        cache_(target.cache_directory),
        plans_(target.known != nullptr ? target.known : std::make_shared<PlanTable>()) {}
  /// Makes a plan for each problem. DeviceError if the device fails, OutOfMemory if there is no memory for timing.
  void build(const std::vector<ConvProblem>& problems, Effort effort = Effort::kFull);
  [[nodiscard]] const Planned& at(const ConvProblem& problem) const;
  [[nodiscard]] const Planned* find(const ConvProblem& problem) const;  // null if it was not asked for
  /// The reason why the problem's plan must not write over its residual; empty if it may. Tried once.
  [[nodiscard]] const std::string& no_in_place(const ConvProblem& problem);

 private:
  struct Job {
    ConvProblem problem;
    Effort effort = Effort::kFull;
    Planned planned;
    std::optional<ConvGraph> graph;    // unless the plan is from the cache
    std::vector<size_t> left;          // its candidates that were not built yet
    std::vector<ConvPlan> candidates;  // to time
    std::vector<std::pair<double, std::string>> timed;
    std::vector<std::string> refused;  // built, but not to be used
    std::string not_built;
    [[nodiscard]] bool waits() const { return !planned.plan.valid() && !left.empty(); }
  };
  [[nodiscard]] std::string cache_key(const ConvProblem& problem) const;
  void begin(Job& job) const;
  void build_more(Job& job) const;
  void build_in_parallel(std::vector<Job>& jobs) const;
  void make_room(std::vector<Job>& jobs, std::optional<Buffer>& scratch) const;
  void time_all(std::vector<Job>& jobs);
  void time_one(Job& job, ConvPlan plan, std::byte* scratch) const;
  [[nodiscard]] Result<ConvPlan> reload(const ConvPlan& plan) const;
  void keep(Job& job);

  Target target_;
  PlanCache cache_;
  std::shared_ptr<PlanTable> plans_;
  bool warned_ = false;
};

}  // namespace elek::backends::cuda
