// SPDX-License-Identifier: Apache-2.0
// See random_fill.h. Every 8 bytes are a hash of their index. Speed matters little.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/random_fill.h"

namespace elek::kernels::cuda {
namespace {

constexpr int64_t kFillBlocks = 1024;  // fills the largest GPUs

/// Four 16-bit patterns: sign and the last ten bits random, the first bits those of a small number in every type.
__device__ inline uint64_t pattern(uint64_t index, uint64_t seed) {
  uint64_t bits = (index + 1) * 0x9E3779B97F4A7C15ULL + seed * 0xD1B54A32D192ED03ULL;  // splitmix64's finaliser
  bits = (bits ^ (bits >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  bits = (bits ^ (bits >> 27U)) * 0x94D049BB133111EBULL;
  bits ^= bits >> 31U;
  return (bits & 0x83FF83FF83FF83FFULL) | 0x3800380038003800ULL;
}

__global__ void __launch_bounds__(kBlockThreads) random_fill_kernel(uint8_t* __restrict__ data, int64_t bytes, uint64_t seed) {
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kBlockThreads;
  for (int64_t at = 8 * (static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x); at < bytes; at += 8 * threads) {
    const uint64_t bits = pattern(static_cast<uint64_t>(at), seed);
    if (at + 8 <= bytes) {
      *reinterpret_cast<uint64_t*>(data + at) = bits;
    } else {
      for (int64_t i = at; i < bytes; ++i) data[i] = static_cast<uint8_t>(bits >> (8U * static_cast<unsigned>(i - at)));
    }
  }
}

}  // namespace

void launch_random_fill(void* data, size_t bytes, uint64_t seed, cudaStream_t stream) {
  ELEK_CHECK(data != nullptr && reinterpret_cast<uintptr_t>(data) % 8 == 0, "random_fill: data must be 8-byte aligned");
  if (bytes == 0) return;
  const int64_t blocks = std::min(ceil_div(static_cast<int64_t>(bytes), 8 * int64_t{kBlockThreads}), kFillBlocks);
  auto* const kernel = random_fill_kernel;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kBlockThreads), 0, stream, static_cast<uint8_t*>(data),
              static_cast<int64_t>(bytes), seed);
  check_launch("random_fill_kernel");
}

}  // namespace elek::kernels::cuda
