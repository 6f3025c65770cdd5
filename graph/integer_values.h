// SPDX-License-Identifier: Apache-2.0
// Quantised models: which values a quantised network rounds and where, its weights as integers, and the checks of a
// quantisation. The rules are said here once; the CPU backend, quantize() and the ONNX writer follow them.
// Tests: tests/unit/quantization_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "elek/graph.h"
#include "graph/passes.h"

namespace elek {

/// Weights are -kLargestWeight … kLargestWeight: without -128, so that a weight and its negative are both there.
inline constexpr int kLargestWeight = 127;

/// Why Precision::kInt8 cannot quantise this step; empty if it can. It quantises convolutions of one group whose batch norm is
/// folded and whose activation clamps. All other steps compute in f32.
[[nodiscard]] std::string why_not_quantised(const FusedNode& step);

/// The stored values of the fused graph that are rounded where they are made: those with a grid that a quantised convolution
/// makes, or a max pool or channel map of such a value with the same grid (both only pass values on).
[[nodiscard]] std::map<ValueId, IntegerGrid> integer_values(const Graph& graph, const FusedGraph& fused,
                                                            const Quantization& quantization);

/// Writes the integers q of a layer's weights [K, …], with weight[k] = scale[k] * q. ContractError if one of them is not within
/// 1e-3 of an integer in -127 … 127 (the weights were changed after quantisation), or the sizes differ.
void to_integers(const std::string& layer, std::span<const float> weights, std::span<const float> scales,
                 std::span<int8_t> integers);

/// The value on the grid: rounded to nearest, ties to even, and clamped. NaN becomes the lowest value, as it does in the
/// kernels.
[[nodiscard]] float on_grid(float value, const IntegerGrid& grid);

/// UsageError, beginning with `what`, if the model is quantised: its weights must stay as they are.
void require_f32_weights(const Model& model, const std::string& what);

/// InputError naming `where` and the layer or value, unless every named layer is a convolution with one finite positive scale
/// per output channel and integer weights, its input has a grid, and every grid is that of a value.
void validate_quantization(const Model& model, const std::string& where);

/// The model with each batch norm folded into the convolution that it follows (computed in double). The convolution gets a bias
/// and the batch norm disappears; readers of the batch norm read the convolution. Batch norms elsewhere stay. Names of values:
/// the convolution keeps its own.
[[nodiscard]] Model fold_batch_norms(const Model& model);

}  // namespace elek
