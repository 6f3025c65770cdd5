// SPDX-License-Identifier: Apache-2.0
// See preprocess.h. One thread writes one vector of lanes of one pixel.
#include <string>

#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/preprocess.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

template <typename Y, int kVec>
__global__ void __launch_bounds__(kBlockThreads)
    preprocess_kernel(const uint8_t* __restrict__ pixels, const float* __restrict__ table, Y* __restrict__ y, int64_t rows,
                      int channels, int vectors) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;
  const int64_t row = vectors == 1 ? index : index / vectors;
  if (row >= rows) return;  // no barrier below
  const int first = static_cast<int>(index - row * vectors) * kVec;
  Y out[kVec];
#pragma unroll
  for (int i = 0; i < kVec; ++i) {
    const int c = first + i;
    out[i] = from_float<Y>(c < channels ? table[c * kPixelValues + pixels[row * channels + c]] : 0.0F);
  }
  store_vector<kVec>(y + (row * vectors) * kVec + first, out);
}

template <typename Y, int kVec>
void launch_vectors(const uint8_t* pixels, const float* table, const CudaActivation& y, cudaStream_t stream) {
  const auto vectors = static_cast<int>(y.channel_pitch / kVec);
  const int64_t blocks = ceil_div(y.rows() * vectors, kBlockThreads);
  ELEK_CHECK(blocks <= INT32_MAX, "preprocess: " + std::to_string(blocks) + " blocks, more than a grid holds");
  auto* const kernel = preprocess_kernel<Y, kVec>;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kBlockThreads), 0, stream, pixels, table,
              static_cast<Y*>(y.data), y.rows(), static_cast<int>(y.shape.channels), vectors);
  check_launch("preprocess_kernel");
}

}  // namespace

void launch_preprocess(const uint8_t* pixels, const float* table, const CudaActivation& y, cudaStream_t stream) {
  check_activation(y, "preprocess", "y");
  ELEK_CHECK(pixels != nullptr && table != nullptr, "preprocess: pixels or table is missing");
  ELEK_CHECK(y.shape.channels * kPixelValues <= INT32_MAX,
             "preprocess: " + std::to_string(y.shape.channels) + " channels are more than a table holds");
  with_type(y.dtype, "preprocess", [&](auto type) {
    using Y = typename decltype(type)::type;
    if (vectors_fit(y.data, y.channel_pitch, kFullVector<Y>, sizeof(Y))) {
      launch_vectors<Y, kFullVector<Y>>(pixels, table, y, stream);
    } else {
      launch_vectors<Y, 1>(pixels, table, y, stream);
    }
  });
}

}  // namespace elek::kernels::cuda
