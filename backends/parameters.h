// SPDX-License-Identifier: Apache-2.0
// A model's parameters in the form that backends copy into their weights slabs: checked against the graph's shapes.
// Host memory only. Tests: tests/golden/session_test.cpp, tests/models
#pragma once

#include <span>
#include <string>

#include "backends/steps.h"

namespace elek::backends {

/// A parameter with this many elements. ContractError naming it and both counts if it has another number.
[[nodiscard]] std::span<const float> parameter(const Model& model, const std::string& name, int64_t elements);

/// ContractError unless there is a mean and a standard deviation for each input channel.
void check_preprocessing(const Preprocessing& preprocessing, int64_t channels);

/// ContractError unless a layer's weights have the shape that its tensors need ([K, C / groups, R, R], or [K, C]).
void check_weights(const Tensor& weight, const FusedNode& node, const ImageShape& x, const ImageShape& y);

/// Fills m.parameter_bytes() bytes at `block` (8-byte aligned), in the order that WatchedMoments::parameters gives.
void moment_parameters(const Model& model, const WatchedMoments& m, std::byte* block);

}  // namespace elek::backends
