// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of sessions: networks, running pixels through a session in batches, and the logits of the double
// reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "elek/session.h"
#include "graph/passes.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek::test {

/// Networks of every kind of block.
struct Kind {
  std::string name;
  TinyOptions tiny;
};

inline std::vector<Kind> kinds() {
  TinyOptions bottleneck = test::tiny_bottleneck_options();
  TinyOptions pooled;
  pooled.max_pool = true;
  pooled.input = {1, 23, 17};
  TinyOptions wide;
  wide.input = {5, 9, 9};  // more channels than the first layer's own layout allows
  wide.widths = {37, 16};
  wide.shortcut = test::TinyShortcut::kProjection;
  TinyOptions mapped;
  mapped.shortcut = test::TinyShortcut::kChannelMap;
  return {{"basic", {}}, {"bottleneck", bottleneck}, {"pooled", pooled}, {"wide", wide}, {"mapped", mapped}};
}

/// Nodes that cannot be fused: a separate relu and batch norm, a sum of two sums, x + x, a flatten of a whole map.
inline Model standalone_model() {
  Model model;
  Graph& g = model.graph;
  ValueId x = g.add("input", InputAttrs{{3, 6, 5}}, {});
  const ValueId bn = g.add("bn", BatchNormAttrs{}, {x});
  const ValueId relu = g.add("relu", ReluAttrs{}, {bn});
  const ValueId conv =
      g.add("conv", Conv2dAttrs{.out_channels = 3, .kernel = 3, .stride = 1, .padding = 1, .groups = 1, .bias = true}, {relu});
  const ValueId twice = g.add("twice", AddAttrs{}, {conv, conv});
  const ValueId sum = g.add("sum", AddAttrs{}, {twice, relu});
  const ValueId again = g.add("again", AddAttrs{}, {sum, x});
  const ValueId pool = g.add("pool", AvgPoolAttrs{{2, 2, 0}}, {again});
  const ValueId flat = g.add("flatten", FlattenAttrs{}, {pool});
  const ValueId fc1 = g.add("fc1", LinearAttrs{.out_features = 7, .bias = true}, {flat});
  const ValueId fc1_relu = g.add("fc1_relu", ReluAttrs{}, {fc1});
  const ValueId fc2 = g.add("fc2", LinearAttrs{.out_features = 7, .bias = false}, {fc1_relu});
  const ValueId fc_sum = g.add("fc_sum", AddAttrs{}, {fc2, fc1_relu});
  g.set_output(fc_sum);
  model.parameters = test::tiny_parameters(g, 11);
  model.preprocessing = {{0.4F, 0.5F, 0.6F}, {0.2F, 0.3F, 0.25F}};
  return model;
}

/// One activation after every kind of node: Winograd, 1x1, grouped and depthwise convolutions, a residual sum, linear layers,
/// and on its own. Odd channel counts, so that there are padding lanes.
inline Model activation_model(const Attrs& act) {
  Model model;
  Graph& g = model.graph;
  const auto conv = [&](const std::string& name, Conv2dAttrs attrs, ValueId x) {
    attrs.padding = attrs.kernel.height / 2;
    return g.add(name + ".bn", BatchNormAttrs{}, {g.add(name, attrs, {x})});
  };
  const ValueId input = g.add("input", InputAttrs{{3, 10, 9}}, {});
  const ValueId stem = g.add("stem.act", act, {conv("stem", {.out_channels = 13, .kernel = 3}, input)});
  const ValueId wide = g.add("wide.act", act, {conv("wide", {.out_channels = 13, .kernel = 3}, stem)});
  const ValueId deep =
      g.add("deep.act", act, {conv("deep", {.out_channels = 13, .kernel = 3, .groups = 13, .bias = true}, wide)});
  const ValueId point = conv("point", {.out_channels = 13, .bias = true}, deep);
  const ValueId block = g.add("block", act, {g.add("sum", AddAttrs{}, {point, stem})});
  const ValueId pool = g.add("pool", MaxPoolAttrs{{2, 2, 0}}, {block});
  const ValueId alone = g.add("alone", act, {pool});
  const ValueId grouped = g.add("grouped.act", act, {conv("grouped", {.out_channels = 26, .groups = 13}, alone)});
  const ValueId flat = g.add("flatten", FlattenAttrs{}, {g.add("avgpool", GlobalAvgPoolAttrs{}, {grouped})});
  const ValueId hidden = g.add("hidden.act", act, {g.add("hidden", LinearAttrs{9, true}, {flat})});
  g.set_output(g.add("fc", LinearAttrs{7, true}, {hidden}));
  model.parameters = test::tiny_parameters(g, 11);
  model.preprocessing = {{0.4F, 0.5F, 0.6F}, {0.2F, 0.3F, 0.25F}};
  return model;
}

/// Squeeze-and-excitation with two kinds of gate: two 1x1 convolutions and a sigmoid, and linear layers with a hard swish.
inline Model squeeze_model() {
  Model model;
  Graph& g = model.graph;
  const ValueId input = g.add("input", InputAttrs{{3, 8, 7}}, {});
  const ValueId stem = g.add("stem", Conv2dAttrs{.out_channels = 13, .kernel = 3, .padding = 1}, {input});
  const ValueId x = g.add("stem.relu", ReluAttrs{}, {g.add("stem.bn", BatchNormAttrs{}, {stem})});
  const ValueId squeezed = g.add("squeeze", GlobalAvgPoolAttrs{}, {x});
  const ValueId small = g.add("reduce", Conv2dAttrs{.out_channels = 5, .bias = true}, {squeezed});
  const ValueId wide =
      g.add("expand", Conv2dAttrs{.out_channels = 13, .bias = true}, {g.add("reduce.relu", ReluAttrs{}, {small})});
  const ValueId scaled = g.add("scaled", ChannelScaleAttrs{}, {x, g.add("gate", SigmoidAttrs{}, {wide})});
  const ValueId point = g.add("point", Conv2dAttrs{.out_channels = 21, .bias = true}, {scaled});
  const ValueId y = g.add("point.relu", ReluAttrs{}, {point});
  const ValueId flat = g.add("flat", FlattenAttrs{}, {g.add("pooled", GlobalAvgPoolAttrs{}, {y})});
  const ValueId factors = g.add("factors", HardSwishAttrs{}, {g.add("hidden", LinearAttrs{21, true}, {flat})});
  const ValueId again = g.add("again", ChannelScaleAttrs{}, {y, factors});
  const ValueId last = g.add("flatten", FlattenAttrs{}, {g.add("avgpool", GlobalAvgPoolAttrs{}, {again})});
  g.set_output(g.add("fc", LinearAttrs{7, true}, {last}));
  model.parameters = test::tiny_parameters(g, 13);
  model.preprocessing = {{0.4F, 0.5F, 0.6F}, {0.2F, 0.3F, 0.25F}};
  return model;
}

/// Why sessions here cannot compute in bf16; empty if they can.
inline std::string why_no_bf16() { return why_not(Device{}, Precision::kBf16); }

/// Runs `samples` samples in batches of at most `batch`, alternating between both slots. Returns all logits.
inline std::vector<float> run_all(Session& session, const std::vector<uint8_t>& pixels, int64_t samples, int64_t batch) {
  std::vector<float> logits;
  size_t turn = 0;
  for (int64_t first = 0; first < samples; first += batch) {
    Slot& slot = session.slots()[turn++ % 2];
    slot.count = std::min(batch, samples - first);
    const auto each = static_cast<size_t>(slot.shape.elements());
    std::memcpy(slot.pixels, pixels.data() + static_cast<size_t>(first) * each, static_cast<size_t>(slot.count) * each);
    const auto made = session.run(slot);
    logits.insert(logits.end(), made.begin(), made.end());
  }
  return logits;
}

inline double largest(const std::vector<double>& values) {
  double out = 0;
  for (const double v : values) out = std::max(out, std::fabs(v));
  return out;
}

/// The names of all values that a session of this model stores, without those that fusion removes.
inline std::vector<std::string> stored_names(const Model& model) {
  std::vector<std::string> names;
  const FusedGraph fused = fuse(model.graph);
  names.push_back(model.graph.node(fused.input).name);
  for (const FusedNode& step : fused.steps) names.push_back(model.graph.node(step.output).name);
  return names;
}

inline std::vector<std::string> kernel_names(const Model& model) {
  std::vector<std::string> names;
  for (const Node& node : model.graph.nodes()) {
    if (node.is<Conv2dAttrs>() || node.is<LinearAttrs>()) names.push_back(node.name);
  }
  return names;
}

}  // namespace elek::test
