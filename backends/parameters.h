// SPDX-License-Identifier: Apache-2.0
// A model's parameters as the backends put them into their weights slabs: checked against the shapes that the graph expects,
// and what batch norm needs computed in double. Host memory only. Tests: tests/golden/session_test.cpp, tests/models
#pragma once

#include <span>
#include <string>

#include "backends/steps.h"

namespace elek::backends {

/// A parameter of so many elements; ContractError naming it and both counts if the model's has others.
[[nodiscard]] std::span<const float> parameter(const Model& model, const std::string& name, int64_t elements);

/// ContractError unless there is a mean and a deviation for each of the input's channels.
void check_preprocessing(const Preprocessing& preprocessing, int64_t channels);

/// ContractError unless a layer's weights have the shape that its step's tensors ask for ([K, C / groups, R, R], or [K, C]).
void check_weights(const Tensor& weight, const FusedNode& node, const ImageShape& x, const ImageShape& y);

/// scale = gamma / sqrt(var + eps), shift = beta - mean * scale, [channels] each, computed in double.
void normalisation(const Model& model, const std::string& batch_norm, int64_t channels, float* scale, float* shift);

/// Fills m.parameter_bytes() at `block` (8-byte aligned) as WatchedMoments::parameters says.
void moment_parameters(const Model& model, const WatchedMoments& m, std::byte* block);

}  // namespace elek::backends
