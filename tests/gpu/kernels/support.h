// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of kernels/cuda. They are compiled twice from one source: for the GPU (test_gpu_kernels, label gpu;
// skipped with a reason if there is none) and for the SIMT harness (test_simt, label simt), whose <cuda_runtime_api.h> maps the
// runtime calls to host memory. Buffers start as NaN between two guards; under AddressSanitizer the harness may not touch the
// guards. Rounding to f16 and bf16 is done here with arithmetic, independent of the code under test.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/types.h"
#include "kernels/cuda/activation.h"
#include "tests/support/compare.h"
#include "tests/support/reference.h"
#ifdef ELEK_SIMT
#include "tests/simt/harness.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define ELEK_GUARD(data, bytes) __asan_poison_memory_region(data, bytes)
#define ELEK_UNGUARD(data, bytes) __asan_unpoison_memory_region(data, bytes)
#endif
#endif
#ifndef ELEK_GUARD
#define ELEK_GUARD(data, bytes) static_cast<void>(0)
#define ELEK_UNGUARD(data, bytes) static_cast<void>(0)
#endif

namespace elek::test {

inline constexpr double kU = 0x1p-24;     // rounding unit of f32
inline constexpr double kWide = 0x1p-40;  // covers the additions in double after the f32 chains: fewer than 2^12 at 2^-53
inline constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// `bytes` bytes of device memory, `shift` bytes after a 256-byte boundary, all bits set (NaN, -1), guarded on both sides.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes, size_t shift = 0) : bytes_(bytes), offset_(kGuard + shift) {
    void* raw = nullptr;
    EXPECT_EQ(cudaMalloc(&raw, total()), cudaSuccess);
    raw_ = static_cast<std::byte*>(raw);
    std::vector<std::byte> image(total(), kCanary);
    std::fill_n(image.begin() + static_cast<ptrdiff_t>(offset_), bytes_, std::byte{0xFF});
    EXPECT_EQ(cudaMemcpy(raw_, image.data(), total(), cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);  // before the guards go up
    guard();
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    const std::vector<std::byte> all = everything();
    const auto is_canary = [](std::byte b) { return b == kCanary; };
    EXPECT_TRUE(std::all_of(all.begin(), all.begin() + static_cast<ptrdiff_t>(offset_), is_canary) &&
                std::all_of(all.begin() + static_cast<ptrdiff_t>(offset_ + bytes_), all.end(), is_canary))
        << "a kernel wrote outside a buffer of " << bytes_ << " bytes";
    ELEK_UNGUARD(raw_, total());
    (void)cudaFree(raw_);
  }
  template <typename T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(raw_ + offset_);
  }
  [[nodiscard]] size_t size() const { return bytes_; }
  template <typename T>
  void upload(const std::vector<T>& values) {
    ASSERT_EQ(values.size() * sizeof(T), bytes_);
    ASSERT_EQ(cudaMemcpy(raw_ + offset_, values.data(), bytes_, cudaMemcpyHostToDevice), cudaSuccess);
  }
  template <typename T>
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> values(bytes_ / sizeof(T));
    EXPECT_EQ(cudaMemcpy(values.data(), raw_ + offset_, values.size() * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  static constexpr size_t kGuard = 256;
  static constexpr std::byte kCanary{0xC9};
  [[nodiscard]] size_t total() const { return offset_ + bytes_ + kGuard; }
  void guard() const {
    ELEK_GUARD(raw_, offset_);
    ELEK_GUARD(raw_ + offset_ + bytes_, kGuard);
  }
  [[nodiscard]] std::vector<std::byte> everything() const {
    ELEK_UNGUARD(raw_, total());
    std::vector<std::byte> all(total());
    EXPECT_EQ(cudaMemcpy(all.data(), raw_, total(), cudaMemcpyDeviceToHost), cudaSuccess);
    return all;
  }
  size_t bytes_;
  size_t offset_;
  std::byte* raw_ = nullptr;
};

// ---- 16-bit numbers by arithmetic ----

struct Format {
  int mantissa;  // bits stored
  int exponent;  // bits
};
inline Format format_of(DType dtype) { return dtype == DType::kF16 ? Format{10, 5} : Format{7, 8}; }

/// Half an ulp of 1: the relative rounding error of a type.
inline double unit_of(DType dtype) { return dtype == DType::kF32 ? kU : std::ldexp(1.0, -format_of(dtype).mantissa - 1); }
/// Half of the smallest subnormal: the absolute rounding error near zero.
inline double floor_of(DType dtype) {
  return dtype == DType::kF16 ? 0x1p-25 : dtype == DType::kBF16 ? std::ldexp(1.0, -134) : std::ldexp(1.0, -150);
}

inline uint16_t encode16(double v, DType dtype) {
  const Format f = format_of(dtype);
  const int bias = (1 << (f.exponent - 1)) - 1, top = (1 << f.exponent) - 1;
  const auto sign = static_cast<uint16_t>(std::signbit(v) ? 0x8000 : 0);
  if (std::isnan(v)) return static_cast<uint16_t>(sign | (top << f.mantissa) | (1 << (f.mantissa - 1)));
  const double a = std::fabs(v);
  if (a == 0) return sign;
  const int e = std::isinf(v) ? bias + 1 : std::max(std::ilogb(a), 1 - bias);
  const double units = std::isinf(v) ? 0 : std::nearbyint(std::ldexp(a, f.mantissa - e));  // ties to even
  if (std::isinf(v) || std::ldexp(units, e - f.mantissa) >= std::ldexp(1.0, bias + 1)) {
    return static_cast<uint16_t>(sign | (top << f.mantissa));
  }
  // A mantissa that rounds up to the next power of two carries into the exponent by itself; a subnormal has no leading bit.
  return static_cast<uint16_t>(sign | (((e + bias - 1) << f.mantissa) + static_cast<int>(units)));
}
inline double decode16(uint16_t bits, DType dtype) {
  const Format f = format_of(dtype);
  const int bias = (1 << (f.exponent - 1)) - 1, top = (1 << f.exponent) - 1;
  const int e = bits >> f.mantissa & top, m = bits & ((1 << f.mantissa) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (e == top) return m != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (e == 0 ? std::ldexp(m, 1 - bias - f.mantissa) : std::ldexp(m + (1 << f.mantissa), e - bias - f.mantissa));
}
inline float rounded_to(double v, DType dtype) {
  return dtype == DType::kF32 ? static_cast<float>(v) : static_cast<float>(decode16(encode16(v, dtype), dtype));
}

/// `values` as bytes of type `dtype`.
inline std::vector<std::byte> encoded(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto narrow = dtype == DType::kF32 ? uint16_t{0} : encode16(static_cast<double>(values[i]), dtype);
    const void* const from = dtype == DType::kF32 ? static_cast<const void*>(&values[i]) : &narrow;
    std::memcpy(bytes.data() + i * size_of(dtype), from, size_of(dtype));
  }
  return bytes;
}
inline std::vector<float> decoded(const std::vector<std::byte>& bytes, DType dtype) {
  std::vector<float> values(bytes.size() / size_of(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t narrow = 0;
    if (dtype == DType::kF32) {
      std::memcpy(&values[i], bytes.data() + i * 4, 4);
    } else {
      std::memcpy(&narrow, bytes.data() + i * 2, 2);
      values[i] = static_cast<float>(decode16(narrow, dtype));
    }
  }
  return values;
}

// ---- activations ----

enum class Pitch : uint8_t { kDense, kPadded };  // padded: to a multiple of 8, plus 8
inline int64_t pitch_of(int64_t channels, Pitch pitch) {
  return pitch == Pitch::kDense ? channels : (channels + 7) / 8 * 8 + 8;
}

/// An NHWC activation on the device. Values are passed and returned as [n][c][position].
struct DeviceActivation {
  DType dtype;
  int64_t samples;
  ImageShape shape;
  int64_t pitch;
  DeviceBuffer memory;

  /// Poisoned: all NaN.
  DeviceActivation(DType type, int64_t n, const ImageShape& s, int64_t channel_pitch)
      : dtype(type),
        samples(n),
        shape(s),
        pitch(channel_pitch),
        memory(static_cast<size_t>(n * s.positions() * channel_pitch) * size_of(type)) {}
  /// Padding lanes of an input hold NaN, so reading them shows in the result.
  DeviceActivation(DType type, int64_t n, const ImageShape& s, int64_t channel_pitch, const std::vector<float>& values)
      : DeviceActivation(type, n, s, channel_pitch) {
    std::vector<float> nhwc(memory.size() / size_of(type), std::numeric_limits<float>::quiet_NaN());
    for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) nhwc[offset(i)] = values[static_cast<size_t>(i)];
    memory.upload(encoded(nhwc, type));
  }
  [[nodiscard]] kernels::cuda::CudaActivation view() const { return {memory.as<void>(), dtype, samples, shape, pitch}; }
  [[nodiscard]] std::vector<float> values() const {
    const std::vector<float> nhwc = decoded(memory.download<std::byte>(), dtype);
    std::vector<float> out(static_cast<size_t>(samples * shape.elements()));
    for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) out[static_cast<size_t>(i)] = nhwc[offset(i)];
    return out;
  }
  /// Number of padding lanes that are not zero.
  [[nodiscard]] int64_t dirty_padding() const {
    const std::vector<float> nhwc = decoded(memory.download<std::byte>(), dtype);
    int64_t dirty = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(nhwc.size()); ++i) {
      dirty += i % pitch >= shape.channels && !(nhwc[static_cast<size_t>(i)] == 0.0F) ? 1 : 0;
    }
    return dirty;
  }

 private:
  [[nodiscard]] size_t offset(int64_t nchw) const {
    const int64_t positions = shape.positions(), p = nchw % positions, c = nchw / positions % shape.channels;
    return static_cast<size_t>((nchw / positions / shape.channels * positions + p) * pitch + c);
  }
};

inline std::vector<float> small_integers(size_t count, uint64_t seed, int64_t most = 3) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& v : values) {
    v = static_cast<float>(static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
  }
  return values;
}

/// Normal values rounded to `dtype`. Channel c has mean 0.1 * (c % 17), so that swapped channels are found.
inline std::vector<float> random_values(int64_t samples, const ImageShape& shape, DType dtype, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(samples * shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto c = static_cast<int64_t>(i) / shape.positions() % shape.channels;
    values[i] = rounded_to(random.normal() + 0.1 * static_cast<double>(c % 17), dtype);
  }
  return values;
}

inline std::string short_name(DType dtype) { return std::string(name_of(dtype)); }

// ---- the table of cases ----

inline const std::vector<int64_t>& case_channels() {
  static const std::vector<int64_t> channels{1, 7, 8, 37, 64, 72, 127, 128, 129};
  return channels;
}
inline const std::vector<DType>& case_types() {
  static const std::vector<DType> types{DType::kF32, DType::kF16, DType::kBF16};
  return types;
}

/// One test per channel count and type.
struct KernelCase {
  DType dtype;
  int64_t channels;
};
inline std::vector<KernelCase> kernel_cases() {
  std::vector<KernelCase> cases;
  for (const DType dtype : case_types()) {
    for (const int64_t channels : case_channels()) cases.push_back({dtype, channels});
  }
  return cases;
}
inline std::string case_name(const testing::TestParamInfo<KernelCase>& info) {
  return short_name(info.param.dtype) + "_c" + std::to_string(info.param.channels);
}
inline void PrintTo(const KernelCase& c, std::ostream* out) { *out << short_name(c.dtype) << " C=" << c.channels; }

/// Skips if there is no device; the harness always is one.
template <typename Base>
class NeedsDevice : public Base {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count < 1) {
      (void)cudaGetLastError();
      GTEST_SKIP() << "no CUDA device: " << cudaGetErrorString(status);
    }
#ifdef ELEK_SIMT
    simt::set_seed(20261122);
    blocks_before_ = simt::blocks_run();
#endif
  }
  void TearDown() override {
    if (testing::Test::IsSkipped()) return;  // runs after a skip too; without a driver every call is an error
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }
  int64_t blocks_before_ = 0;
};
using KernelTest = NeedsDevice<testing::Test>;
using KernelCaseTest = NeedsDevice<testing::TestWithParam<KernelCase>>;

}  // namespace elek::test
