// SPDX-License-Identifier: Apache-2.0
// Small networks with every kind of window and with concatenations, as imported ONNX files have them. Odd channel counts and
// sizes, so that there are padding lanes and pixels left over.
// Tests: tests/golden/windows_test.cpp, tests/prune/concat_test.cpp, tests/simt/engine/session_test.cpp
#pragma once

#include "elek/graph.h"
#include "tests/support/models.h"

namespace elek::test {

inline Model with_tiny_parameters(Graph graph, uint64_t seed) {
  Model model;
  model.graph = std::move(graph);
  model.parameters = tiny_parameters(model.graph, seed);
  model.preprocessing = {{0.4F, 0.5F, 0.6F}, {0.2F, 0.3F, 0.25F}};
  return model;
}

/// Convolutions with rectangular, uneven and dilated windows: plain, grouped and depthwise, with batch norm and without.
inline Model windows_model() {
  Graph g;
  const auto conv = [&](const std::string& name, const Conv2dAttrs& attrs, ValueId x) {
    return g.add(name + ".relu", ReluAttrs{}, {g.add(name + ".bn", BatchNormAttrs{}, {g.add(name, attrs, {x})})});
  };
  ValueId x = g.add("input", InputAttrs{{3, 19, 17}}, {});
  x = conv("stem", {.out_channels = 13, .kernel = 3, .stride = {2, 1}, .padding = {0, 1, 1, 0}}, x);
  x = conv("across", {.out_channels = 17, .kernel = {1, 7}, .padding = {0, 3, 0, 3}}, x);
  x = conv("down", {.out_channels = 13, .kernel = {7, 1}, .padding = {3, 0, 3, 0}, .bias = true}, x);
  x = conv("apart2", {.out_channels = 13, .kernel = 3, .padding = 2, .dilation = 2}, x);
  x = conv("depthwise", {.out_channels = 13, .kernel = {3, 5}, .stride = {1, 2}, .padding = {0, 1, 2, 2}, .groups = 13}, x);
  const ValueId twice =
      g.add("twice", Conv2dAttrs{.out_channels = 13, .kernel = 3, .padding = 2, .groups = 13, .dilation = 2}, {x});
  x = g.add("sum", AddAttrs{}, {twice, x});
  x = conv("apart3", {.out_channels = 12, .kernel = 3, .stride = 2, .padding = {3, 2, 3, 4}, .dilation = {3, 2}}, x);
  x = conv("groups", {.out_channels = 9, .kernel = {2, 3}, .padding = {1, 1, 0, 1}, .groups = 3, .dilation = {1, 2}}, x);
  x = g.add("flat", FlattenAttrs{}, {g.add("pooled", GlobalAvgPoolAttrs{}, {x})});
  g.set_output(g.add("fc", LinearAttrs{7, true}, {x}));
  return with_tiny_parameters(std::move(g), 17);
}

/// Pools that round up, do not count their padding, or have uneven windows.
inline Model pools_model() {
  Graph g;
  ValueId x = g.add("input", InputAttrs{{3, 26, 23}}, {});
  x = g.add("stem.relu", ReluAttrs{}, {g.add("stem", Conv2dAttrs{.out_channels = 13, .kernel = 3, .bias = true}, {x})});
  const auto max = [&](const char* name, const PoolAttrs& attrs) { x = g.add(name, MaxPoolAttrs{attrs}, {x}); };
  const auto average = [&](const char* name, const PoolAttrs& attrs, bool counts) {
    x = g.add(name, AvgPoolAttrs{attrs, counts}, {x});
  };
  average("same", {3, 1, 1}, false);
  max("ceil", {3, 2, 0, true});
  average("ceil.counts", {2, 1, {0, 1, 1, 0}, true}, true);
  max("uneven", {{2, 3}, {1, 2}, {1, 0, 0, 2}});
  average("ceil.image", {{3, 2}, 2, {1, 0, 1, 1}, true}, false);
  average("padded.up", {{3, 2}, {2, 3}, {1, 1, 1, 0}, true}, true);
  x = g.add("flat", FlattenAttrs{}, {x});
  g.set_output(g.add("fc", LinearAttrs{7, true}, {x}));
  return with_tiny_parameters(std::move(g), 19);
}

/// Concatenations: of the network's input, of a dense block's layers (DenseNet), of a fire module's halves (SqueezeNet), of one
/// value with itself, and of feature vectors.
inline Model concat_model() {
  Graph g;
  const auto conv = [&](const std::string& name, int64_t channels, int64_t kernel, ValueId x) {
    return g.add(name, Conv2dAttrs{.out_channels = channels, .kernel = kernel, .padding = kernel / 2, .bias = true}, {x});
  };
  const auto relu = [&](const std::string& name, ValueId x) { return g.add(name + ".relu", ReluAttrs{}, {x}); };
  const ValueId input = g.add("input", InputAttrs{{3, 9, 7}}, {});
  const ValueId stem = relu("stem", conv("stem", 13, 3, input));
  const ValueId first = g.add("first", ConcatAttrs{}, {stem, input});
  // A dense block of two layers: each reads everything before it.
  const auto layer = [&](const std::string& name, ValueId x) {
    return conv(name, 6, 3, relu(name, g.add(name + ".bn", BatchNormAttrs{}, {x})));
  };
  const ValueId one = layer("dense1", first);
  const ValueId two = layer("dense2", g.add("dense", ConcatAttrs{}, {first, one}));
  const ValueId block = g.add("block", ConcatAttrs{}, {first, one, two});
  // A fire module.
  const ValueId squeeze = relu("squeeze", conv("squeeze", 7, 1, g.add("pool", MaxPoolAttrs{{3, 2, 0, true}}, {block})));
  const ValueId small = relu("expand1", conv("expand1", 9, 1, squeeze)),
                large = relu("expand3", conv("expand3", 10, 3, squeeze));
  const ValueId fire = g.add("fire", ConcatAttrs{}, {small, large});
  // A sum over a concatenation ties the convolution's channels to both halves.
  const ValueId sum = relu("sum", g.add("sum", AddAttrs{}, {conv("straight", 19, 1, squeeze), fire}));
  const ValueId both = g.add("both", ConcatAttrs{}, {sum, small, sum});
  const ValueId last = relu("last", conv("last", 11, 3, both));
  const auto pooled = [&](const std::string& name, ValueId x) { return g.add(name, GlobalAvgPoolAttrs{}, {x}); };
  const ValueId features = g.add("features", ConcatAttrs{}, {pooled("mean.last", last), pooled("mean.fire", fire)});
  g.set_output(g.add("fc", LinearAttrs{7, true}, {g.add("flat", FlattenAttrs{}, {features})}));
  return with_tiny_parameters(std::move(g), 23);
}

}  // namespace elek::test
