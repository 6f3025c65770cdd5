// SPDX-License-Identifier: Apache-2.0
// How the axes of an ONNX tensor lie on elek's image (channels, rows, columns). Reshape, Transpose, Flatten, Squeeze and the
// like only rename indices. So they make no node: they change the axes of a value. Each axis is a list of digits, as in a
// number whose digits have different bases. A digit counts through one dimension of the image with a stride. Examples:
//   N,C,H,W image         [N] [C] [H] [W]
//   flattened             [N] [C H W]
//   channels last         [N] [H] [W] [C]
//   shuffled channels     [N] [C/2:stride 1, 2:stride C/2] [H] [W]
// Must not know nodes or files. Tests: tests/models/onnx_axes_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "elek/types.h"

namespace elek::onnx {

enum class Dim : uint8_t { kBatch, kChannel, kRow, kColumn };

/// `size` steps of `stride` through a dimension of the image. Never of size 1; the batch has size 0, because it is not known.
struct Digit {
  Dim dim = Dim::kBatch;
  int64_t size = 0;
  int64_t stride = 1;
  friend bool operator==(const Digit&, const Digit&) = default;
};
using Axis = std::vector<Digit>;  // outermost digit first; empty = an axis of size 1
using Axes = std::vector<Axis>;

/// An integer that a network computes with: a number, or the batch size, which is not known.
struct Integer {
  int64_t value = 0;
  bool batch = false;
  friend bool operator==(const Integer&, const Integer&) = default;
};

[[nodiscard]] Axes image_axes(const ImageShape& shape);          // [N] [C] [H] [W]
[[nodiscard]] Axes channels_last_axes(const ImageShape& shape);  // [N] [H] [W] [C]
[[nodiscard]] Axes feature_axes(const ImageShape& shape);        // [N] [C H W]

[[nodiscard]] bool is_batch(const Axis& axis);
/// 1 for an empty axis. Contract: the axis is not the batch.
[[nodiscard]] int64_t size_of(const Axis& axis);
[[nodiscard]] bool has(const Axis& axis, Dim dim);

/// The axes after a reshape to `target`: -1 is what is left, 0 keeps the axis (unless `zero_is_size`). Number `batch`, if it is
/// known, also means the batch. Nothing if an axis cannot be split so, or the batch is mixed with another axis.
[[nodiscard]] std::optional<Axes> reshaped(const Axes& axes, std::vector<Integer> target, std::optional<int64_t> batch,
                                           bool zero_is_size = false);
/// Axes `first` … end joined into one, and those before it too, as Flatten does.
[[nodiscard]] std::optional<Axes> flattened(const Axes& axes, size_t first);

/// The channel of the image for each index of the axis. Nothing unless the axis consists of all channels of `shape` and no
/// more.
[[nodiscard]] std::optional<std::vector<int32_t>> channels_of(const Axis& axis, const ImageShape& shape);
/// The element of the image (in the order channel, row, column) for each index of the axis. Nothing unless it has them all.
[[nodiscard]] std::optional<std::vector<int64_t>> elements_of(const Axis& axis, const ImageShape& shape);
/// True if the axes are [N] [C, in any order] [H] [W].
[[nodiscard]] bool is_image(const Axes& axes, const ImageShape& shape);
/// The axes of an image of the shape `to` that lies as `axes` do, with all its channels in order. Nothing if an axis has digits
/// of several dimensions.
[[nodiscard]] std::optional<Axes> resized(const Axes& axes, const ImageShape& from, const ImageShape& to);
/// True for 0, 1, 2 …
[[nodiscard]] bool counts_up(std::span<const int32_t> values);

}  // namespace elek::onnx
