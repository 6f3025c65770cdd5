// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/int8_test.cpp
#include "backends/cpu/quantised.h"

#include <algorithm>
#include <set>

#include "core/hint.h"

namespace elek::backends::cpu {
namespace {

bool passes_on(const FusedNode& step) { return step.node.is<MaxPoolAttrs>() || step.node.is<ChannelMapAttrs>(); }

/// Values that are read as f32 by some step, or by our pass that sums them.
std::set<ValueId> read_as_floats(const Model& model, const FusedGraph& fused, const LowerOptions& options) {
  const auto sums_of = [&](ValueId value) -> uint32_t {
    const std::string& name = model.graph.node(value).name;
    for (const auto& [watched, sums] : options.probes.values) {
      if (watched == name) return sums;
    }
    return 0;
  };
  const auto& norms = options.probes.tap_norms;
  std::set<ValueId> floats{fused.output};
  for (const FusedNode& step : fused.steps) {
    const bool quantised = model.quantization.layers.contains(step.node.name);
    const bool norm = std::find(norms.begin(), norms.end(), step.node.name) != norms.end();
    const bool copies = passes_on(step) && sums_of(step.output) == 0;
    if (norm || !(quantised || copies)) floats.insert(step.input);
    if (step.residual && !quantised) floats.insert(*step.residual);
    floats.insert(step.more.begin(), step.more.end());
    if ((sums_of(step.output) & (quantised ? uint32_t{kPerSample} : ~uint32_t{0})) != 0) floats.insert(step.output);
  }
  return floats;
}

}  // namespace

QuantisedValues quantised_values(const Model& model, const FusedGraph& fused, const LowerOptions& options) {
  if (options.precision != Precision::kInt8) return {};
  if (model.quantization.empty()) {
    throw Hinted<UsageError>(Hint::kQuantize, "precision int8: the network is not quantised");
  }
  if (options.probes.tap == Tap::kConv && !options.probes.values.empty()) {
    throw Hinted<UsageError>(Hint::kUseF32, "tap conv: in int8 the raw result of a convolution is never in memory");
  }
  QuantisedValues made;
  made.rounded = integer_values(model.graph, fused, model.quantization);
  if (options.keep_values) return made;
  std::set<ValueId> floats = read_as_floats(model, fused, options);
  // A pool or map whose result is stored as f32 reads f32 too. Readers come after what they read, so one pass from the end.
  for (auto step = fused.steps.rbegin(); step != fused.steps.rend(); ++step) {
    const bool integers = made.rounded.contains(step->output) && !floats.contains(step->output);
    if (passes_on(*step) && !integers) floats.insert(step->input);
  }
  for (const auto& [value, grid] : made.rounded) {
    if (!floats.contains(value)) made.stored.emplace(value, grid);
  }
  // The other way round, from the start: a pool or map reads integers only if its input is stored so.
  for (const FusedNode& step : fused.steps) {
    if (passes_on(step) && !made.stored.contains(step.input)) made.stored.erase(step.output);
  }
  return made;
}

}  // namespace elek::backends::cpu
