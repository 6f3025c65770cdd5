// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/layer_times_test.cpp
#include "engine/layer_times.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "backends/backend.h"
#include "backends/plan_cache.h"
#include "core/error.h"
#include "core/processor.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "engine/estimate.h"

namespace elek {
namespace {

constexpr int kFewestRuns = 7;
constexpr int kMostRuns = 100;
constexpr double kSeconds = 10e-3;

/// input -> convolution -> ReLU, with weights that are not zero.
Model network_of(const ImageShape& input, const Conv2dAttrs& conv, MemoryResource& memory) {
  Model model;
  Graph& g = model.graph;
  const ValueId x = g.add("input", InputAttrs{input}, {});
  Conv2dAttrs with_bias = conv;
  with_bias.bias = true;
  g.set_output(g.add("relu", ReluAttrs{}, {g.add("conv", with_bias, {x})}));
  for (const ParameterSpec& spec : required_parameters(g)) {
    auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, memory, BlockLabel(spec.name, Use::kModel));
    std::fill_n(static_cast<float*>(tensor->data()), spec.shape.elements(), 0.01F);
    model.parameters[spec.name] = std::move(tensor);
  }
  model.preprocessing.mean.assign(static_cast<size_t>(input.channels), 0.5F);
  model.preprocessing.stddev.assign(static_cast<size_t>(input.channels), 0.25F);
  return model;
}

}  // namespace

LayerTimes::LayerTimes(SessionOptions options) : options_(std::move(options)) {
  options_.batch = options_.micro_batch = 1;
  options_.probes = {};
  options_.on_plan = {};
}

double LayerTimes::us(const ImageShape& input, const Conv2dAttrs& conv) {
  const std::string problem = to_string(input) + " -> " + std::to_string(conv.out_channels) + " " + to_string(conv.window()) +
                              " groups " + std::to_string(conv.groups);
  if (const auto found = known_.find(problem); found != known_.end()) return found->second;
  const bool on_host = options_.memory != nullptr && is_host(options_.memory->device());
  const Model model = network_of(input, conv, on_host ? *options_.memory : host_resource());
  // The kernel's name contains library and instruction set. On a GPU the name is known only after lowering.
  const std::string key = "layer " + processor_name() + " " + to_string(options_.device) + " " +
                          std::string(name_of(options_.precision)) + " threads " + std::to_string(options_.threads) + " | " +
                          problem + " | " + estimate_memory(model, options_).program.steps.at(1).kernel + " " +
                          std::string(backend_of(options_.device.kind).timed_sources);
  const backends::PlanCache cache(backends::PlanCache::default_directory());
  if (const auto entry = cache.load(key); entry && entry.value().time_us > 0) {
    return known_[problem] = entry.value().time_us;
  }
  const double least = measure(model);
  const auto stored = cache.store(key, {"layer", least, {}});
  if (!stored && measured_ == 0) {
    warn("the plan cache cannot be written (" + stored.reason() + "): the layers are timed again in the next process");
  }
  ++measured_;
  return known_[problem] = least;
}

double LayerTimes::measure(const Model& model) {
  using Clock = std::chrono::steady_clock;
  Session session(model, options_);
  Slot& slot = session.slots()[0];
  slot.count = 1;
  std::fill_n(slot.pixels, slot.shape.elements(), uint8_t{100});
  std::fill_n(slot.labels, 1, -1);
  StepTimes times;
  (void)session.run_timed(slot, times);
  double least = std::numeric_limits<double>::infinity();
  const Clock::time_point start = Clock::now();
  for (int run = 0; run < kMostRuns; ++run) {
    throw_if_interrupted();
    if (run >= kFewestRuns && std::chrono::duration<double>(Clock::now() - start).count() > kSeconds) break;
    (void)session.run_timed(slot, times);
    least = std::min(least, times.step_us.at(1));
  }
  return least;
}

}  // namespace elek
