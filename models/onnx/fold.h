// SPDX-License-Identifier: Apache-2.0
// Computes with the small integers of a network: shapes and what exporters compute from them (Shape, Gather, Concat, Reshape,
// the pads of an old PyTorch Pad), and with small constants of floats. Each function throws Unsupported for what it cannot
// compute. Must not know nodes. Tests: tests/models/onnx_axes_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/onnx/values.h"

namespace elek::onnx::fold {

/// The shape that a reshape from `old` to `target` gives; nothing if the numbers of elements differ.
[[nodiscard]] std::optional<std::vector<int64_t>> target_shape(const std::vector<int64_t>& old,
                                                               const std::vector<Integer>& target, bool zero_is_size);
[[nodiscard]] Integers transposed(const Integers& from, std::span<const int64_t> axes);
/// Of integers or a constant. No axes = all that are 1.
[[nodiscard]] Value squeezed(const Value& from, const std::vector<int64_t>& axes);
[[nodiscard]] Value unsqueezed(const Value& from, const std::vector<int64_t>& axes);
[[nodiscard]] Integers concatenated(const std::vector<Integers>& parts, int64_t axis);
/// As ONNX's Slice: negative indices count from the end, ends beyond it are cut, a negative step goes backwards.
[[nodiscard]] Integers sliced(const Integers& from, size_t axis, int64_t start, int64_t end, int64_t step);
[[nodiscard]] Integers gathered(const Integers& from, size_t axis, const Integers& indices);

enum class Operation : uint8_t { kAdd, kSubtract, kMultiply, kDivide };
/// Element by element; one of them may be a single number.
[[nodiscard]] Integers combined(Operation operation, const Integers& one, const Integers& other);

}  // namespace elek::onnx::fold
