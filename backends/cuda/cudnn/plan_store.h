// SPDX-License-Identifier: Apache-2.0
// Finds the best plan of each problem. It is read from the cache on disk. If it is not there, all candidates are built (in
// parallel threads) and timed on the device (one after another); the fastest is kept and cached. Equal problems are built once.
// Tests: tests/deviceless/lower_test.cpp, tests/gpu/backend_conv_test.cpp
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/cuda/device.h"
#include "backends/plan_cache.h"
#include "elek/memory.h"

namespace elek::backends::cuda {

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
};

/// Median time of one call of `enqueue` on the stream, warm.
[[nodiscard]] double time_us(CUstream_st* stream, const std::function<void()>& enqueue);

struct Planned {
  ConvPlan plan;                           // valid, or see `no`
  std::string no;                          // the reason why there is no plan
  double time_us = 0;                      // 0 = not timed
  std::string rivals;                      // all that were timed
  std::optional<std::string> no_in_place;  // set once it was asked for
};

class PlanStore {
 public:
  explicit PlanStore(const Target& target) : target_(target), cache_(target.cache_directory) {}
  /// Makes a plan for each problem. DeviceError if the device fails, OutOfMemory if there is no memory for timing.
  void build(const std::vector<ConvProblem>& problems);
  [[nodiscard]] const Planned& at(const ConvProblem& problem) const;
  /// The reason why the problem's plan must not write over its residual; empty if it may. Tried once.
  [[nodiscard]] const std::string& no_in_place(const ConvProblem& problem);

 private:
  struct Job {
    ConvProblem problem;
    Planned planned;
    std::vector<ConvPlan> candidates;  // to time
  };
  [[nodiscard]] std::string cache_key(const ConvProblem& problem) const;
  void build_one(Job& job) const;
  void build_in_parallel(std::vector<Job>& jobs) const;
  void time_all(std::vector<Job>& jobs);
  void keep(Job& job);

  Target target_;
  PlanCache cache_;
  std::map<std::string, Planned> plans_;
  bool warned_ = false;
};

}  // namespace elek::backends::cuda
