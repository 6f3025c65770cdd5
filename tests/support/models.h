// SPDX-License-Identifier: Apache-2.0
// Small deterministic models for tests, built with Graph alone: ResNets with odd channel counts, both kinds of shortcut, batch
// norm that matters, basic and bottleneck blocks, grouped convolutions; and pixels for them. Names as in elek/model.h.
// Tests: tests/self/models_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"

namespace elek::test {

enum class TinyShortcut : uint8_t {
  kProjection,  // option B: 1x1 convolution and batch norm (downsample.0, downsample.1)
  kChannelMap,  // option A: strided slice, zero-padded channels (shortcut)
  kBoth,        // odd stages as B, even ones as A
};

struct TinyOptions {
  bool bottleneck = false;
  std::vector<int64_t> widths = {7, 13, 24};  // planes per stage; stages after the first have stride 2
  int64_t blocks = 2;                         // per stage
  int64_t groups = 1;                         // of a bottleneck's 3x3; must divide every width
  int64_t expansion = 2;                      // of a bottleneck
  TinyShortcut shortcut = TinyShortcut::kBoth;
  bool max_pool = false;  // a 3x3 stride 2 max pool in the stem
  ImageShape input{3, 12, 10};
  int64_t classes = 10;
  uint64_t seed = 1;
  /// Weights in {-1, 0, 1}, few per filter. Batch norms shift by integers and scale exactly by -1, 1 or 2. Pixels are 0 or 255,
  /// preprocessed to 0 or 1. Then every value is an integer (after the average pool a fraction of a power of two, if the number
  /// of positions is one, as with input 3x16x8), and small enough that every order of summation in f32 is exact.
  bool integers = false;
};

/// The graph only. ContractError if the options do not fit together.
[[nodiscard]] Graph tiny_graph(const TinyOptions& options = {});
/// Graph, seeded parameters, preprocessing, labels.
[[nodiscard]] Model tiny_resnet(const TinyOptions& options = {}, MemoryResource& resource = host_resource());
/// Bottlenecks with grouped 3x3 (a small ResNeXt): widths 8 and 12, groups 4.
[[nodiscard]] TinyOptions tiny_bottleneck_options();
/// Options whose sums are exact in f32.
[[nodiscard]] TinyOptions tiny_integer_options();

/// Seeded parameters for any graph: He-normal weights; batch norms with weight in [0.5, 1.5), bias and mean around 0, variance
/// in [0.5, 1.5). So errors in folding and order and swapped channels are all found.
[[nodiscard]] Parameters tiny_parameters(const Graph& graph, uint64_t seed, bool integers = false,
                                         MemoryResource& resource = host_resource());
/// Pixels, channels last, with a different mean in every channel and sample; 0 or 255 only if `integers`.
[[nodiscard]] std::vector<uint8_t> tiny_pixels(const ImageShape& shape, int64_t samples, uint64_t seed, bool integers = false);
/// A tensor with these floats.
[[nodiscard]] std::shared_ptr<const Tensor> tensor_of(const std::vector<float>& values, const Shape& shape,
                                                      MemoryResource& resource = host_resource());

}  // namespace elek::test
