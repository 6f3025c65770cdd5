// SPDX-License-Identifier: Apache-2.0
// Runs the whole network a few times with each kernel. The shortest time counts: longer times include other work on the
// machine.
// Tests: tests/backends/kernel_times_test.cpp
#include "backends/cpu/time_kernels.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>

#include "backends/cpu/executable.h"
#include "backends/cpu/lower.h"
#include "core/error.h"
#include "core/runtime.h"
#include "plan/plan.h"

namespace elek::backends::cpu {
namespace {

constexpr int kFewestPasses = 3;
constexpr int kMostPasses = 12;
constexpr double kSeconds = 0.15;  // per kernel, after the first kFewestPasses

void fill(Slot& slot) {
  Random random(1);
  slot.count = slot.capacity;
  std::generate_n(slot.pixels, slot.count * slot.shape.elements(), [&] { return static_cast<uint8_t>(random.next() >> 56U); });
  std::fill_n(slot.labels, slot.count, -1);
}

/// The shortest time of each step.
std::vector<double> least_us(Executable& executable) {
  using Clock = std::chrono::steady_clock;
  Slot& slot = executable.slots()[0];
  fill(slot);
  StepTimes times;
  (void)executable.run_timed(slot, times);  // the first pass touches every page
  std::vector<double> least(times.step_us.size(), std::numeric_limits<double>::infinity());
  const Clock::time_point start = Clock::now();
  for (int pass = 0; pass < kMostPasses; ++pass) {
    throw_if_interrupted();
    if (pass >= kFewestPasses && std::chrono::duration<double>(Clock::now() - start).count() > kSeconds) break;
    (void)executable.run_timed(slot, times);
    for (size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], times.step_us[i]);
  }
  return least;
}

/// Layers with the same key are timed together.
struct Sum {
  std::array<double, kConvAlgorithms.size()> us{};
  std::array<int, kConvAlgorithms.size()> layers{};
};

}  // namespace

void time_kernels(const Model& model, const FusedGraph& fused, const LowerOptions& options, KernelTimes& times) {
  LowerOptions one_micro_batch = options;
  std::map<std::string, Sum> missing;
  {
    Lowerer by_rule(model, fused, options, {&times, {}});
    by_rule.lower();
    for (const Step& step : by_rule.notes.steps) {
      if (!step.times_key.empty() && !step.timed) missing[step.times_key];
    }
    one_micro_batch.batch = one_micro_batch.micro_batch = by_rule.program.micro_batch;
  }
  if (missing.empty()) return;
  MemoryResource& memory = options.memory != nullptr ? *options.memory : host_resource();
  for (size_t k = 0; k < kConvAlgorithms.size(); ++k) {
    Lowerer lowerer(model, fused, one_micro_batch, {&times, kConvAlgorithms[k]});
    lowerer.lower();
    std::vector<std::string> keys;  // of the steps that this kernel is tried on
    for (size_t i = 0; i < lowerer.notes.steps.size(); ++i) {
      const Step& step = lowerer.notes.steps[i];
      keys.push_back(lowerer.may_run(i, kConvAlgorithms[k]) && missing.contains(step.times_key) ? step.times_key : "");
    }
    if (std::all_of(keys.begin(), keys.end(), [](const std::string& key) { return key.empty(); })) continue;
    try {
      const MemoryPlan planned = plan(lowerer.program);
      Model lent = model;  // shares the tensors; binding drops them from this copy
      CpuExecutable executable(std::move(lowerer.program), std::move(lowerer.notes), lent, planned, memory);
      const std::vector<double> us = least_us(executable);
      for (size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].empty()) continue;
        Sum& sum = missing.at(keys[i]);
        sum.us[k] += us[i];
        sum.layers[k] += 1;
      }
    } catch (const OutOfMemory&) {  // NOLINT(bugprone-empty-catch): a kernel whose weights do not fit in memory is no candidate
    }
  }
  for (const auto& [key, sum] : missing) {
    ConvTimes found;
    for (size_t k = 0; k < kConvAlgorithms.size(); ++k) {
      if (sum.layers[k] > 0) found.set(kConvAlgorithms[k], sum.us[k] / sum.layers[k]);
    }
    if (found != ConvTimes{}) times.add(key, found);
  }
}

}  // namespace elek::backends::cpu
