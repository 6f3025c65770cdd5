// SPDX-License-Identifier: Apache-2.0
// The small vocabulary shared by every folder: element types, devices, shapes, layouts and views.
// A view says where values lie and how; it owns nothing. Sizes are in bytes, counts in elements, both 64-bit.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace elek {

enum class DType : uint8_t { kF32, kF16, kBF16, kF64, kI64, kI32, kU8 };
[[nodiscard]] size_t size_of(DType dtype);
[[nodiscard]] std::string_view name_of(DType dtype);  // "F32", … as safetensors spells them

/// How a session computes and stores activations. kTf32 stores f32 and lets convolutions round their operands to TF32; sums are
/// always accumulated in f32 or better.
enum class Precision : uint8_t { kF32, kTf32, kBf16, kF16 };
[[nodiscard]] std::string_view name_of(Precision precision);  // "f32", "tf32", "bf16", "f16"
[[nodiscard]] DType storage_of(Precision precision);          // of activations

enum class DeviceKind : uint8_t { kCpu, kCuda };
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};
[[nodiscard]] std::string to_string(const Device& device);  // "cpu", "cuda:0"
/// Whether it is the host itself: its memory is the process's, its cores are the machine's. What else a device can do, its
/// backend says (engine/session.h).
[[nodiscard]] constexpr bool is_host(const Device& device) { return device.kind == DeviceKind::kCpu; }

/// Up to four dimensions, each > 0 (rank 0 = scalar).
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);
  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int64_t operator[](int axis) const { return dims_.at(static_cast<size_t>(axis)); }
  [[nodiscard]] std::span<const int64_t> dims() const noexcept { return {dims_.data(), static_cast<size_t>(rank_)}; }
  [[nodiscard]] int64_t elements() const;  // product; ContractError on overflow
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};
[[nodiscard]] std::string to_string(const Shape& shape);  // "[64, 3, 7, 7]"

/// elements * size_of(dtype); ContractError on overflow.
[[nodiscard]] size_t checked_bytes(const Shape& shape, DType dtype);

/// One sample of an activation: channels, height, width (a feature vector is {features, 1, 1}).
struct ImageShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  [[nodiscard]] int64_t positions() const noexcept { return height * width; }
  [[nodiscard]] int64_t elements() const noexcept { return channels * height * width; }
  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};
[[nodiscard]] std::string to_string(const ImageShape& shape);  // "64x56x56"

/// How the N,C,H,W of an activation lie in memory. Blocked layouts keep 8 or 16 channels together (nChw16c); their last
/// block is padded, and padding lanes are always zero.
enum class Layout : uint8_t { kNchw, kNhwc, kNChw8c, kNChw16c };
[[nodiscard]] int64_t channel_block(Layout layout);                      // 1, 1, 8, 16
[[nodiscard]] int64_t padded_channels(Layout layout, int64_t channels);  // rounded up to the block
[[nodiscard]] std::string_view name_of(Layout layout);

/// An activation in memory: `samples` samples of `shape`. For kNhwc `channel_pitch` is the distance in elements between two
/// neighbouring pixels (>= channels; the rest is zero padding); otherwise it is the padded channel count.
template <typename T>
struct ActivationView {
  T* data = nullptr;
  int64_t samples = 0;
  ImageShape shape;
  Layout layout = Layout::kNchw;
  int64_t channel_pitch = 0;
};

/// A parameter or plain array in memory, dense and row-major.
struct TensorView {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;
  Device device;
  [[nodiscard]] size_t bytes() const { return checked_bytes(shape, dtype); }
};

}  // namespace elek
