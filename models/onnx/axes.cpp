// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/axes.h"

#include <algorithm>

namespace elek::onnx {
namespace {

const Digit kBatchDigit{Dim::kBatch, 0, 1};

Axis axis_of(Dim dim, int64_t size) { return size == 1 ? Axis{} : Axis{{dim, size, 1}}; }

/// Joins digits that count on: [2 steps of 3] [3 steps of 1] is 6 steps of 1. So equal orders have equal digits.
Axis joined(const Axis& axis) {
  Axis made;
  for (const Digit& digit : axis) {
    if (!made.empty() && made.back().dim == digit.dim && digit.dim != Dim::kBatch &&
        made.back().stride == digit.size * digit.stride) {
      made.back() = {digit.dim, made.back().size * digit.size, digit.stride};
    } else {
      made.push_back(digit);
    }
  }
  return made;
}

int64_t product(std::span<const Integer> numbers) {  // of the known ones; 0 on overflow
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t made = 1;
  for (const Integer& each : numbers) {
    if (each.batch || each.value < 0) continue;
    if (each.value == 0 || made > kMost / each.value) return 0;
    made *= each.value;
  }
  return made;
}

/// Replaces the 0 and -1 of a reshape's target by what they mean, and finds out which number is the batch.
bool resolve(std::vector<Integer>& target, const Axes& axes, std::optional<int64_t> batch, bool zero_is_size) {
  int64_t elements = 1;
  for (const Axis& axis : axes) {
    if (!is_batch(axis)) elements *= size_of(axis);
  }
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i].batch || target[i].value != 0 || zero_is_size) continue;
    if (i >= axes.size()) return false;
    target[i] = is_batch(axes[i]) ? Integer{0, true} : Integer{size_of(axes[i]), false};
  }
  const auto is_open = [](const Integer& each) { return !each.batch && each.value == -1; };
  const auto has_batch = [&] {
    return std::any_of(target.begin(), target.end(), [](const Integer& each) { return each.batch; });
  };
  const auto open = std::find_if(target.begin(), target.end(), is_open);
  // Exporters write the batch as a number that they saw (often 1), or as -1.
  if (!has_batch() && !target.empty() && target.front().value > 0 &&
      (batch == target.front().value || target.front().value == 1) &&
      (open != target.end() || product(target) == elements * target.front().value)) {
    target.front() = {0, true};
  }
  if (open != target.end()) {
    if (!has_batch()) {
      if (product(target) != elements) return false;
      *open = {0, true};
    } else {
      const int64_t others = product(target);
      if (others == 0 || elements % others != 0) return false;
      *open = {elements / others, false};
    }
  }
  return has_batch() && std::none_of(target.begin(), target.end(), is_open) && product(target) == elements;
}

/// Takes digits whose sizes multiply to `size` from the front of `digits` (kept in reverse order).
bool take(std::vector<Digit>& digits, int64_t size, Axis& to) {
  while (size > 1) {
    if (digits.empty() || digits.back().dim == Dim::kBatch) return false;
    Digit& next = digits.back();
    if (size % next.size == 0) {
      to.push_back(next);
      size /= next.size;
      digits.pop_back();
    } else if (next.size % size == 0) {
      to.push_back({next.dim, size, next.stride * (next.size / size)});
      next.size /= size;
      return true;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

Axes image_axes(const ImageShape& shape) {
  return {{kBatchDigit},
          axis_of(Dim::kChannel, shape.channels),
          axis_of(Dim::kRow, shape.height),
          axis_of(Dim::kColumn, shape.width)};
}

Axes channels_last_axes(const ImageShape& shape) {
  return {{kBatchDigit},
          axis_of(Dim::kRow, shape.height),
          axis_of(Dim::kColumn, shape.width),
          axis_of(Dim::kChannel, shape.channels)};
}

Axes feature_axes(const ImageShape& shape) {
  const Axes image = image_axes(shape);
  Axes made{image[0], {}};
  for (size_t i = 1; i < image.size(); ++i) made[1].insert(made[1].end(), image[i].begin(), image[i].end());
  return made;
}

bool is_batch(const Axis& axis) { return axis.size() == 1 && axis.front().dim == Dim::kBatch; }

int64_t size_of(const Axis& axis) {
  int64_t size = 1;
  for (const Digit& digit : axis) size *= digit.size;
  return size;
}

bool has(const Axis& axis, Dim dim) {
  return std::any_of(axis.begin(), axis.end(), [&](const Digit& digit) { return digit.dim == dim; });
}

std::optional<Axes> reshaped(const Axes& axes, std::vector<Integer> target, std::optional<int64_t> batch, bool zero_is_size) {
  if (!resolve(target, axes, batch, zero_is_size)) return std::nullopt;
  std::vector<Digit> digits;
  for (const Axis& axis : axes) digits.insert(digits.end(), axis.begin(), axis.end());
  std::reverse(digits.begin(), digits.end());
  Axes made;
  for (const Integer& each : target) {
    Axis axis;
    if (each.batch) {
      if (digits.empty() || digits.back().dim != Dim::kBatch) return std::nullopt;
      axis.push_back(digits.back());
      digits.pop_back();
    } else if (!take(digits, each.value, axis)) {
      return std::nullopt;
    }
    made.push_back(joined(axis));
  }
  if (!digits.empty()) return std::nullopt;
  return made;
}

std::optional<Axes> flattened(const Axes& axes, size_t first) {
  if (first > axes.size()) return std::nullopt;
  Axes made(2);
  for (size_t i = 0; i < axes.size(); ++i) {
    Axis& to = made[i < first ? 0 : 1];
    to.insert(to.end(), axes[i].begin(), axes[i].end());
  }
  made[0] = joined(made[0]);
  made[1] = joined(made[1]);
  if (!is_batch(made[0])) return std::nullopt;
  return made;
}

std::optional<std::vector<int64_t>> elements_of(const Axis& axis, const ImageShape& shape) {
  if (has(axis, Dim::kBatch) || size_of(axis) != shape.elements()) return std::nullopt;
  std::vector<int64_t> made{0};
  std::vector<int64_t> next;
  for (const Digit& digit : axis) {
    const int64_t pitch = digit.dim == Dim::kChannel ? shape.positions() : digit.dim == Dim::kRow ? shape.width : 1;
    next.clear();
    for (const int64_t start : made) {
      for (int64_t i = 0; i < digit.size; ++i) next.push_back(start + i * digit.stride * pitch);
    }
    made.swap(next);
  }
  return made;
}

std::optional<std::vector<int32_t>> channels_of(const Axis& axis, const ImageShape& shape) {
  if (has(axis, Dim::kRow) || has(axis, Dim::kColumn)) return std::nullopt;
  const auto elements = elements_of(axis, {shape.channels, 1, 1});
  if (!elements) return std::nullopt;
  return std::vector<int32_t>(elements->begin(), elements->end());
}

bool is_image(const Axes& axes, const ImageShape& shape) {
  const Axes plain = image_axes(shape);
  return axes.size() == plain.size() && axes[0] == plain[0] && axes[2] == plain[2] && axes[3] == plain[3] &&
         size_of(axes[1]) == shape.channels && !has(axes[1], Dim::kBatch) && !has(axes[1], Dim::kRow) &&
         !has(axes[1], Dim::kColumn);
}

std::optional<Axes> resized(const Axes& axes, const ImageShape& from, const ImageShape& to) {
  if (axes == image_axes(from)) return image_axes(to);
  if (axes == channels_last_axes(from)) return channels_last_axes(to);
  if (from.channels == 1 && to.channels != 1) return std::nullopt;  // no digit says which axis counts the channels
  Axes made;
  for (const Axis& axis : axes) {
    const bool mixed = std::any_of(axis.begin(), axis.end(), [&](const Digit& digit) { return digit.dim != axis.front().dim; });
    if (mixed) return std::nullopt;
    if (axis.empty() || is_batch(axis)) {
      made.push_back(axis);
    } else {
      const Dim dim = axis.front().dim;
      made.push_back(axis_of(dim, dim == Dim::kChannel ? to.channels : dim == Dim::kRow ? to.height : to.width));
    }
  }
  return made;
}

bool counts_up(std::span<const int32_t> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<int32_t>(i)) return false;
  }
  return true;
}

}  // namespace elek::onnx
