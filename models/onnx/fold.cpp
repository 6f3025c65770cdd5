// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/fold.h"

#include <algorithm>
#include <set>
#include <utility>

namespace elek::onnx::fold {
namespace {

constexpr size_t kMostIntegers = 4096;

size_t axis_in(int64_t axis, size_t rank) {
  const int64_t made = axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
  if (made < 0 || made >= static_cast<int64_t>(rank)) throw Unsupported{"of an axis that is not there"};
  return static_cast<size_t>(made);
}

/// Elements before, at and behind an axis.
struct Around {
  size_t outer = 1, size = 1, inner = 1;
};
Around around(const Integers& from, size_t axis) {
  Around made;
  for (size_t i = 0; i < from.shape.size(); ++i) {
    (i < axis ? made.outer : i > axis ? made.inner : made.size) *= static_cast<size_t>(from.shape[i]);
  }
  return made;
}

/// The elements at these indices of an axis.
Integers taken(const Integers& from, size_t axis, const std::vector<size_t>& indices) {
  const auto [outer, size, inner] = around(from, axis);
  Integers made{from.shape, {}};
  made.shape.at(axis) = static_cast<int64_t>(indices.size());
  if (from.values.empty() || indices.empty()) return made;
  if (outer * inner * indices.size() > kMostIntegers) throw Unsupported{"of too many integers"};
  for (size_t o = 0; o < outer; ++o) {
    for (const size_t index : indices) {
      const auto begin = from.values.begin() + static_cast<std::ptrdiff_t>((o * size + index) * inner);
      made.values.insert(made.values.end(), begin, begin + static_cast<std::ptrdiff_t>(inner));
    }
  }
  return made;
}

const std::vector<int64_t>& shape_of(const Value& from) {
  if (const auto* constant = std::get_if<Constant>(&from)) return constant->shape;
  return std::get<Integers>(from).shape;
}

Value with_shape(Value from, std::vector<int64_t> shape, std::vector<int64_t> strides) {
  if (auto* constant = std::get_if<Constant>(&from)) {
    constant->shape = std::move(shape);
    constant->strides = std::move(strides);
  } else {
    std::get<Integers>(from).shape = std::move(shape);
  }
  return from;
}

std::vector<int64_t> strides_of(const Value& from) {
  const auto* constant = std::get_if<Constant>(&from);
  return constant != nullptr ? constant->strides : row_major(std::get<Integers>(from).shape);
}

int64_t computed(Operation operation, int64_t a, int64_t b) {
  int64_t made = 0;
  bool overflow = false;
  switch (operation) {
    case Operation::kAdd:
      overflow = __builtin_add_overflow(a, b, &made);
      break;
    case Operation::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &made);
      break;
    case Operation::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &made);
      break;
    case Operation::kDivide:
      overflow = b == 0 || b == -1;
      if (!overflow) made = a / b;
      break;
  }
  if (overflow) throw Unsupported{"of integers that overflow"};
  return made;
}

}  // namespace

std::optional<std::vector<int64_t>> target_shape(const std::vector<int64_t>& old, const std::vector<Integer>& target,
                                                 bool zero_is_size) {
  int64_t elements = 1, known = 1;
  for (const int64_t dim : old) elements *= dim;
  std::vector<int64_t> made;
  std::optional<size_t> open;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i].batch || target[i].value < -1) return std::nullopt;
    int64_t dim = target[i].value;
    if (dim == 0 && !zero_is_size) {
      if (i >= old.size()) return std::nullopt;
      dim = old[i];
    }
    if (dim == -1) {
      if (open) return std::nullopt;
      open = i;
    } else if (__builtin_mul_overflow(known, dim, &known)) {
      return std::nullopt;
    }
    made.push_back(dim);
  }
  if (open) {
    if (known == 0 || elements % known != 0) return std::nullopt;
    made[*open] = elements / known;
    known *= made[*open];
  }
  if (known != elements) return std::nullopt;
  return made;
}

Integers transposed(const Integers& from, std::span<const int64_t> axes) {
  const std::vector<int64_t> strides = row_major(from.shape);
  Integers made;
  std::vector<size_t> starts;
  if (!from.values.empty()) starts.push_back(0);
  for (const int64_t axis : axes) {
    const int64_t size = from.shape.at(static_cast<size_t>(axis));
    made.shape.push_back(size);
    std::vector<size_t> next;
    for (const size_t start : starts) {
      for (int64_t i = 0; i < size; ++i) next.push_back(start + static_cast<size_t>(i * strides[static_cast<size_t>(axis)]));
    }
    starts.swap(next);
  }
  for (const size_t at : starts) made.values.push_back(from.values.at(at));
  return made;
}

Value squeezed(const Value& from, const std::vector<int64_t>& axes) {
  const std::vector<int64_t>& old = shape_of(from);
  const std::vector<int64_t> old_strides = strides_of(from);
  std::set<size_t> gone;
  for (const int64_t axis : axes) gone.insert(axis_in(axis, old.size()));
  std::vector<int64_t> shape, strides;
  for (size_t i = 0; i < old.size(); ++i) {
    if (gone.contains(i) && old[i] != 1) throw Unsupported{"of an axis that is not 1"};
    if (axes.empty() ? old[i] == 1 : gone.contains(i)) continue;
    shape.push_back(old[i]);
    strides.push_back(old_strides[i]);
  }
  return with_shape(from, std::move(shape), std::move(strides));
}

Value unsqueezed(const Value& from, const std::vector<int64_t>& axes) {
  std::vector<int64_t> shape = shape_of(from), strides = strides_of(from);
  std::set<size_t> fresh;
  for (const int64_t axis : axes) fresh.insert(axis_in(axis, shape.size() + axes.size()));
  for (const size_t axis : fresh) {
    const auto at = static_cast<std::ptrdiff_t>(std::min(axis, shape.size()));
    shape.insert(shape.begin() + at, 1);
    strides.insert(strides.begin() + at, 0);
  }
  return with_shape(from, std::move(shape), std::move(strides));
}

Integers concatenated(const std::vector<Integers>& parts, int64_t axis) {
  if (parts.empty()) throw Unsupported{"of nothing"};
  const size_t at = axis_in(axis, parts.front().shape.size());
  Integers made{parts.front().shape, {}};
  made.shape[at] = 0;
  for (const Integers& part : parts) {
    std::vector<int64_t> rest = part.shape;
    if (rest.size() <= at) throw Unsupported{"of different shapes"};
    made.shape[at] += std::exchange(rest[at], made.shape[at]);
    rest[at] = made.shape[at];
    if (rest != made.shape) throw Unsupported{"of different shapes"};
  }
  const bool empty = std::all_of(parts.begin(), parts.end(), [](const Integers& part) { return part.values.empty(); });
  const size_t outer = empty ? 0 : around(made, at).outer;
  for (size_t o = 0; o < outer; ++o) {
    for (const Integers& part : parts) {
      const Around a = around(part, at);
      const auto begin = part.values.begin() + static_cast<std::ptrdiff_t>(o * a.size * a.inner);
      made.values.insert(made.values.end(), begin, begin + static_cast<std::ptrdiff_t>(a.size * a.inner));
      if (made.values.size() > kMostIntegers) throw Unsupported{"of too many integers"};
    }
  }
  return made;
}

Integers sliced(const Integers& from, size_t axis, int64_t start, int64_t end, int64_t step) {
  const int64_t size = from.shape.at(axis);
  if (step == 0 || step < -size || step > (int64_t{1} << 62))
    step = step < 0 ? -std::max<int64_t>(size, 1) : step == 0 ? throw Unsupported{"with a step of 0"} : size + 1;
  const auto from_end = [&](int64_t at) { return at < 0 ? std::max(at, -size - 1) + size : std::min(at, size); };
  std::vector<size_t> indices;
  if (step > 0) {
    const int64_t last = std::max<int64_t>(from_end(end), 0);
    for (int64_t i = std::max<int64_t>(from_end(start), 0); i < last; i += step) indices.push_back(static_cast<size_t>(i));
  } else {
    const int64_t last = std::max<int64_t>(from_end(end), -1);
    for (int64_t i = std::min(from_end(start), size - 1); i > last && i >= 0; i += step)
      indices.push_back(static_cast<size_t>(i));
  }
  return taken(from, axis, indices);
}

Integers gathered(const Integers& from, size_t axis, const Integers& indices) {
  std::vector<size_t> at;
  const int64_t size = from.shape.at(axis);
  for (const Integer& each : indices.values) {
    const int64_t index = each.value < 0 ? each.value + size : each.value;
    if (each.batch || index < 0 || index >= size) throw Unsupported{"of an index that is not there"};
    at.push_back(static_cast<size_t>(index));
  }
  Integers made = taken(from, axis, at);
  made.shape.erase(made.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  made.shape.insert(made.shape.begin() + static_cast<std::ptrdiff_t>(axis), indices.shape.begin(), indices.shape.end());
  return made;
}

Integers combined(Operation operation, const Integers& one, const Integers& other) {
  const bool one_number = one.values.size() == 1, other_number = other.values.size() == 1;
  if (one.shape != other.shape && !one_number && !other_number) throw Unsupported{"of integers of different shapes"};
  Integers made{one_number ? other.shape : one.shape, {}};
  const size_t count = std::max(one.values.size(), other.values.size());
  if (one.values.empty() || other.values.empty()) return made;
  for (size_t i = 0; i < count; ++i) {
    const Integer a = one.values[one_number ? 0 : i], b = other.values[other_number ? 0 : i];
    const bool keeps_batch = operation == Operation::kMultiply
                                 ? (a.batch && b == Integer{1, false}) || (b.batch && a == Integer{1, false})
                                 : operation == Operation::kDivide && a.batch && b == Integer{1, false};
    if ((a.batch || b.batch) && !keeps_batch) throw Unsupported{"of the batch size"};
    made.values.push_back(keeps_batch ? Integer{0, true} : Integer{computed(operation, a.value, b.value), false});
  }
  return made;
}

}  // namespace elek::onnx::fold
