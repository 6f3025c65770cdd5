// SPDX-License-Identifier: Apache-2.0
// Basic types: element types, devices, shapes, layouts and views; and the errors that elek throws. Sizes are in bytes, counts
// in elements, both 64-bit. A view says where values lie and how; it owns nothing. The type of an error fixes the exit code of
// the command (docs/cli.md) and tells a program what kind of problem it is; the message says the rest.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "elek/export.h"

namespace elek {

enum class DType : uint8_t { kF32, kF16, kBF16, kF64, kI64, kI32, kU8, kI8 };
[[nodiscard]] ELEK_API size_t size_of(DType dtype);
[[nodiscard]] ELEK_API std::string_view name_of(DType dtype);  // "F32", … as safetensors spells them

/// How a session computes and stores activations. kTf32 stores f32; convolutions may round their operands to TF32. kInt8
/// multiplies 8-bit integers and adds in 32-bit integers; the model must be quantised (Model::quantization). Otherwise sums are
/// accumulated in f32 or better.
enum class Precision : uint8_t { kF32, kTf32, kBf16, kF16, kInt8 };
[[nodiscard]] ELEK_API std::string_view name_of(Precision precision);  // "f32", "tf32", "bf16", "f16", "int8"
/// Of activations. kInt8: of those that are not quantised.
[[nodiscard]] ELEK_API DType storage_of(Precision precision);

enum class DeviceKind : uint8_t { kCpu, kCuda };
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};
[[nodiscard]] ELEK_API std::string to_string(const Device& device);  // "cpu", "cuda:0"
/// Whether it is the host: its memory is the process's, its cores are the machine's. The backend answers other questions about
/// a device (elek/session.h).
[[nodiscard]] constexpr bool is_host(const Device& device) { return device.kind == DeviceKind::kCpu; }

/// Up to four dimensions, each > 0 (rank 0 = scalar).
class ELEK_API Shape {
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
[[nodiscard]] ELEK_API std::string to_string(const Shape& shape);  // "[64, 3, 7, 7]"

/// elements * size_of(dtype); ContractError on overflow.
[[nodiscard]] ELEK_API size_t checked_bytes(const Shape& shape, DType dtype);

/// One sample of an activation: channels, height, width (a feature vector is {features, 1, 1}).
struct ImageShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  [[nodiscard]] int64_t positions() const noexcept { return height * width; }
  [[nodiscard]] int64_t elements() const noexcept { return channels * height * width; }
  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};
[[nodiscard]] ELEK_API std::string to_string(const ImageShape& shape);  // "64x56x56"

/// How the N,C,H,W of an activation lie in memory. Blocked layouts keep 8 or 16 channels together (nChw16c). Their last block
/// is padded; padding lanes are always zero.
enum class Layout : uint8_t { kNchw, kNhwc, kNChw8c, kNChw16c };
[[nodiscard]] ELEK_API int64_t channel_block(Layout layout);                      // 1, 1, 8, 16
[[nodiscard]] ELEK_API int64_t padded_channels(Layout layout, int64_t channels);  // rounded up to the block
[[nodiscard]] ELEK_API std::string_view name_of(Layout layout);

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

/// Base of every error thrown by elek.
class ELEK_API Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& message) : std::runtime_error(message), exit_code_(exit_code) {}
  /// Exit code of the command: 1 internal, 2 usage, 3 input or output, 4 memory, 5 device, 130 interrupted.
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }

 private:
  int exit_code_;
};

/// A caller broke a function's contract, or a self-check failed: a defect in the program, not in its input.
class ELEK_API ContractError : public Error {
 public:
  explicit ContractError(const std::string& message) : Error(1, message) {}
};

/// The command line asks for something impossible, for example a target that removes nothing.
class ELEK_API UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(2, message) {}
};

/// A file, a data set or a disk is missing, damaged or not usable.
class ELEK_API InputError : public Error {
 public:
  explicit InputError(const std::string& message) : Error(3, message) {}
};

/// The device, its driver or its library is missing or failed.
class ELEK_API DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(5, message) {}
};

/// The user asked to stop (Ctrl-C).
class ELEK_API Interrupted : public Error {
 public:
  Interrupted() : Error(130, "interrupted") {}
};

/// Memory ran out, or a byte budget would be exceeded. Figures are those of the resource that refused.
class ELEK_API OutOfMemory : public Error {
 public:
  struct Figures {
    size_t requested_bytes = 0;
    size_t in_use_bytes = 0;
    size_t peak_bytes = 0;
    size_t limit_bytes = 0;  // 0 = the resource knows no limit
    size_t largest_free_bytes = 0;
  };
  OutOfMemory(const std::string& what, const Figures& figures);
  [[nodiscard]] const Figures& figures() const noexcept { return figures_; }
  /// The message without the figures, to be used in a longer message.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

 private:
  std::string reason_;
  Figures figures_;
};

}  // namespace elek
