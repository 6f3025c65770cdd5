// SPDX-License-Identifier: Apache-2.0
// Guarded<T>: an output buffer between two canaries. It is filled with poison first (NaN, or a byte pattern for integers), so
// elements that are never written and writes outside are both found. Aligned like our resources, or shifted by some elements on
// purpose.
// Tests: tests/self/guarded_test.cpp
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace elek::test {

template <typename T>
class Guarded {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// `count` elements, the first `shift` elements after a 256-byte boundary.
  explicit Guarded(size_t count, size_t shift = 0)
      : bytes_(kAlign + kGuard + (shift + count) * sizeof(T) + kGuard, kCanary), count_(count) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data()) + kGuard;
    offset_ = kGuard + (kAlign - address % kAlign) % kAlign + shift * sizeof(T);
    poison();
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  [[nodiscard]] T* data() { return reinterpret_cast<T*>(bytes_.data() + offset_); }
  [[nodiscard]] const T* data() const { return reinterpret_cast<const T*>(bytes_.data() + offset_); }
  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] std::span<T> span() { return {data(), count_}; }
  [[nodiscard]] std::span<const T> span() const { return {data(), count_}; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }

  /// Fills every element with poison again; the canaries stay.
  void poison() { std::fill_n(data(), count_, poison_value()); }
  /// Whether no byte before or after the elements has changed.
  [[nodiscard]] bool guards_intact() const {
    const auto end = offset_ + count_ * sizeof(T);
    const auto is_canary = [](std::byte byte) { return byte == kCanary; };
    return std::all_of(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(offset_), is_canary) &&
           std::all_of(bytes_.begin() + static_cast<ptrdiff_t>(end), bytes_.end(), is_canary);
  }
  /// Number of elements that still hold the poison, bit for bit.
  [[nodiscard]] size_t untouched() const {
    const T poison = poison_value();
    return static_cast<size_t>(
        std::count_if(data(), data() + count_, [&](const T& each) { return std::memcmp(&each, &poison, sizeof(T)) == 0; }));
  }
  [[nodiscard]] static T poison_value() {
    if constexpr (std::is_floating_point_v<T>) {
      return std::numeric_limits<T>::quiet_NaN();
    } else {
      T value;
      std::memset(static_cast<void*>(&value), 0xA5, sizeof(T));
      return value;
    }
  }

 private:
  static constexpr size_t kAlign = 256;
  static constexpr size_t kGuard = 256;
  static constexpr std::byte kCanary{0xC9};
  std::vector<std::byte> bytes_;
  size_t count_ = 0;
  size_t offset_ = 0;
};

}  // namespace elek::test
