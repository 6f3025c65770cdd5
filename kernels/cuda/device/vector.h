// SPDX-License-Identifier: Apache-2.0
// Element types and vector loads. A vector is kVec neighbouring channels of one pixel; vectors of more than 16 bytes take
// several loads. Only for .cu files. Tests: those of the kernels (tests/gpu/kernels/*_test.cpp)
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/sums.h"
#include "elek/types.h"
#include "kernels/cuda/device/launch.h"

namespace elek::kernels::cuda {

// Constants for device code, which cannot call std::numeric_limits.
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kLargestF32 = std::numeric_limits<float>::max();
inline constexpr float kNanF32 = std::numeric_limits<float>::quiet_NaN();

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__half v) { return __half2float(v); }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

/// Rounds to nearest even; NaN stays NaN, values that are too large become infinity.
template <typename T>
__device__ inline T from_float(float v);
template <>
__device__ inline float from_float<float>(float v) {
  return v;
}
template <>
__device__ inline __half from_float<__half>(float v) {
  return __float2half_rn(v);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}

template <typename T, int kVec>
struct alignas(sizeof(T) * kVec < 16 ? sizeof(T) * kVec : 16) Vector {
  T at[kVec];
};

/// Loads kVec elements at p, which must be aligned to the vector's size or to 16 bytes, whichever is less.
template <int kVec, typename T>
__device__ inline void load_vector(const T* p, float (&out)[kVec]) {
  ELEK_DEVICE_CHECK(reinterpret_cast<uintptr_t>(p) % alignof(Vector<T, kVec>) == 0);
  const Vector<T, kVec> v = *reinterpret_cast<const Vector<T, kVec>*>(p);
#pragma unroll
  for (int i = 0; i < kVec; ++i) out[i] = to_float(v.at[i]);
}

template <int kVec, typename T>
__device__ inline void store_vector(T* p, const T (&in)[kVec]) {
  ELEK_DEVICE_CHECK(reinterpret_cast<uintptr_t>(p) % alignof(Vector<T, kVec>) == 0);
  Vector<T, kVec> v;
#pragma unroll
  for (int i = 0; i < kVec; ++i) v.at[i] = in[i];
  *reinterpret_cast<Vector<T, kVec>*>(p) = v;
}

/// Channels of a full vector of this type: 16 bytes.
template <typename T>
inline constexpr int kFullVector = static_cast<int>(16 / sizeof(T));

/// Whether vectors of `vec` elements of `size` bytes are aligned at every pixel.
inline bool vectors_fit(const void* data, int64_t pitch, int vec, size_t size) {
  const size_t bytes = static_cast<size_t>(vec) * size;
  return pitch % vec == 0 && reinterpret_cast<uintptr_t>(data) % (bytes < 16 ? bytes : 16) == 0;
}

template <typename T>
struct Type {
  using type = T;
};

/// Calls f(Type<T>()) for the element type of `dtype`. ContractError if activations cannot have this type.
template <typename F>
void with_type(DType dtype, const char* op, const F& f) {
  switch (dtype) {
    case DType::kF32:
      f(Type<float>());
      return;
    case DType::kF16:
      f(Type<__half>());
      return;
    case DType::kBF16:
      f(Type<__nv_bfloat16>());
      return;
    default:
      break;
  }
  ELEK_CHECK(false, std::string(op) + ": type " + std::string(name_of(dtype)) + ", expected F32, F16 or BF16");
}

}  // namespace elek::kernels::cuda
