// SPDX-License-Identifier: Apache-2.0
// See pool.h. Overlapping parts of windows are read from the L1 or L2 cache, so x is read from DRAM about once.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/sums.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/pool.h"

namespace elek::kernels::cuda {
namespace {

enum PoolKind : int { kMaximum, kAverage };

struct PoolArgs {
  const void* x;
  void* y;
  int64_t x_pitch, y_pitch;
  int32_t channels, x_height, x_width;
  unsigned y_height, y_width, vectors;  // vectors: number per pixel of y
  int32_t kernel_height, kernel_width, stride_height, stride_width, top, left;
  int32_t count_bottom, count_right;  // average: rows and columns of the image and its padding behind it
  bool counts_padding;
};

/// blockIdx.x is one image row of y; a thread computes kVec channels of one pixel. Indices are 32-bit inside an image, 64-bit
/// across samples.
template <typename T, int kVec, int kKind>
__global__ void __launch_bounds__(kBlockThreads) pool_kernel(PoolArgs args) {
  const unsigned n = blockIdx.x / args.y_height, p = blockIdx.x % args.y_height;
  const unsigned i = blockIdx.y * kBlockThreads + threadIdx.x;
  if (i >= args.y_width * args.vectors) return;  // no barrier below
  const unsigned q = i / args.vectors;
  const int c = static_cast<int>(i % args.vectors) * kVec;
  float value[kVec];
#pragma unroll
  for (int k = 0; k < kVec; ++k) value[k] = kKind == kMaximum ? -kInfinity : 0.0F;
  const int top = static_cast<int>(p) * args.stride_height - args.top;
  const int left = static_cast<int>(q) * args.stride_width - args.left;
  for (int r = 0; r < args.kernel_height && c < args.channels; ++r) {  // x may have no lanes after its channels
    const int h = top + r;
    if (h < 0 || h >= args.x_height) continue;
    for (int s = 0; s < args.kernel_width; ++s) {
      const int w = left + s;
      if (w < 0 || w >= args.x_width) continue;
      float x[kVec];
      const int64_t row = (static_cast<int64_t>(n) * args.x_height + h) * args.x_width + w;
      load_vector<kVec>(static_cast<const T*>(args.x) + row * args.x_pitch + c, x);
#pragma unroll
      for (int k = 0; k < kVec; ++k) value[k] = kKind == kMaximum ? keep_larger(value[k], x[k]) : value[k] + x[k];
    }
  }
  const auto counted = [&](int first, int kernel, int end) {  // rows or columns that the divisor counts
    const int last = first + kernel < end ? first + kernel : end;
    return last - (args.counts_padding || first > 0 ? first : 0);
  };
  const auto window = static_cast<float>(counted(top, args.kernel_height, args.count_bottom) *
                                         counted(left, args.kernel_width, args.count_right));
  T out[kVec];
#pragma unroll
  for (int k = 0; k < kVec; ++k) {
    out[k] = from_float<T>(c + k >= args.channels ? 0.0F : kKind == kMaximum ? value[k] : value[k] / window);
  }
  const int64_t row = static_cast<int64_t>(blockIdx.x) * args.y_width + q;
  store_vector<kVec>(static_cast<T*>(args.y) + row * args.y_pitch + c, out);
}

template <typename T, int kVec, int kKind>
void launch_windows(PoolArgs args, int64_t rows, const char* op, cudaStream_t stream) {
  args.vectors = static_cast<unsigned>(args.y_pitch / kVec);
  const int64_t chunks = ceil_div(int64_t{args.y_width} * args.vectors, kBlockThreads);
  ELEK_CHECK(rows <= INT32_MAX && chunks <= 65535, std::string(op) + ": " + std::to_string(rows) + " image rows of " +
                                                       std::to_string(chunks) + " blocks, more than a grid holds");
  auto* const kernel = pool_kernel<T, kVec, kKind>;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(rows), static_cast<unsigned>(chunks)), dim3(kBlockThreads), 0, stream, args);
  check_launch("pool_kernel");
}

void check_pair(const CudaActivation& x, const CudaActivation& y, const char* op) {
  check_activation(x, op, "x");
  check_activation(y, op, "y");
  ELEK_CHECK(x.samples == y.samples && x.shape.channels == y.shape.channels,
             std::string(op) + ": y is " + std::to_string(y.samples) + " x " + to_string(y.shape) + ", x " +
                 std::to_string(x.samples) + " x " + to_string(x.shape));
}

void observe_stored(const CudaActivation& y, const PoolSums& sums, cudaStream_t stream) {
  if (sums.totals != nullptr) launch_observe(y, *sums.totals, sums.workspace, sums.workspace_bytes, stream);
}

template <int kKind>
void launch_pool(const CudaActivation& x, const CudaActivation& y, const PoolWindow& window, const PoolSums& sums,
                 cudaStream_t stream) {
  constexpr const char* kOp = kKind == kMaximum ? "max_pool" : "avg_pool";
  check_pair(x, y, kOp);
  ELEK_CHECK(x.dtype == y.dtype,
             std::string(kOp) + ": y is " + std::string(name_of(y.dtype)) + ", expected x's " + std::string(name_of(x.dtype)));
  check_pool_window(x.shape, y.shape, window, kOp);
  PoolArgs args{};
  args.x = x.data, args.y = y.data, args.x_pitch = x.channel_pitch, args.y_pitch = y.channel_pitch;
  args.channels = static_cast<int32_t>(x.shape.channels), args.x_height = static_cast<int32_t>(x.shape.height);
  args.x_width = static_cast<int32_t>(x.shape.width);
  args.y_height = static_cast<unsigned>(y.shape.height), args.y_width = static_cast<unsigned>(y.shape.width);
  args.kernel_height = static_cast<int32_t>(window.kernel.height);
  args.kernel_width = static_cast<int32_t>(window.kernel.width);
  args.stride_height = static_cast<int32_t>(window.stride.height);
  args.stride_width = static_cast<int32_t>(window.stride.width);
  args.top = static_cast<int32_t>(window.padding.top), args.left = static_cast<int32_t>(window.padding.left);
  args.counts_padding = window.counts_padding;
  args.count_bottom = args.x_height + (window.counts_padding ? static_cast<int32_t>(window.padding.bottom) : 0);
  args.count_right = args.x_width + (window.counts_padding ? static_cast<int32_t>(window.padding.right) : 0);
  with_type(x.dtype, kOp, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int kVec = kFullVector<T>;
    if (vectors_fit(x.data, x.channel_pitch, kVec, sizeof(T)) && vectors_fit(y.data, y.channel_pitch, kVec, sizeof(T))) {
      launch_windows<T, kVec, kKind>(args, y.samples * y.shape.height, kOp, stream);
    } else {
      launch_windows<T, 1, kKind>(args, y.samples * y.shape.height, kOp, stream);
    }
  });
  observe_stored(y, sums, stream);
}

struct MeanArgs {
  const void* x;
  void* y;
  int64_t x_pitch, y_pitch, channels, positions;
  int lanes;
};

/// A block processes one sample and one tile of channels (of x or y, whichever has more); a thread kVec channels of every
/// `rows`-th pixel. No thread returns before the barrier in reduce_tile.
template <typename X, typename Y, int kVec>
__global__ void __launch_bounds__(kBlockThreads) global_avg_pool_kernel(MeanArgs args) {
  ELEK_SHARED(double, shared, kReduceDoubles<1>);
  constexpr int kChain = 8;
  const TileThread at = tile_thread<kVec>(args.lanes, blockIdx.y);
  const X* const x = static_cast<const X*>(args.x) + static_cast<int64_t>(blockIdx.x) * args.positions * args.x_pitch;
  double totals[1][kVec] = {};
  const int64_t end = at.channel < args.channels ? args.positions : 0;
  for (int64_t first = at.row; first < end; first += static_cast<int64_t>(at.rows) * kChain) {
    float chain[kVec] = {};
#pragma unroll
    for (int i = 0; i < kChain; ++i) {
      const int64_t p = first + static_cast<int64_t>(i) * at.rows;
      if (p >= end) break;
      float v[kVec];
      load_vector<kVec>(x + p * args.x_pitch + at.channel, v);
#pragma unroll
      for (int c = 0; c < kVec; ++c) chain[c] += v[c];
    }
#pragma unroll
    for (int c = 0; c < kVec; ++c) totals[0][c] += static_cast<double>(chain[c]);
  }
  Y* const y = static_cast<Y*>(args.y) + static_cast<int64_t>(blockIdx.x) * args.y_pitch;
  const int64_t tile = static_cast<int64_t>(blockIdx.y) * args.lanes * kVec;
  reduce_tile<1, kVec, -1>(totals, args.lanes, shared, [&](int, int c, double value) {
    const double mean = tile + c < args.channels ? value / static_cast<double>(args.positions) : 0.0;
    if (tile + c < args.y_pitch) y[tile + c] = from_float<Y>(static_cast<float>(mean));
  });
}

template <typename X, typename Y, int kVec>
void launch_mean(MeanArgs args, int64_t samples, cudaStream_t stream) {
  args.lanes = tile_lanes(args.y_pitch, kVec, sizeof(X));
  const int64_t tiles = ceil_div(args.y_pitch, static_cast<int64_t>(args.lanes) * kVec);
  ELEK_CHECK(samples <= INT32_MAX && tiles <= 65535, "global_avg_pool: " + std::to_string(samples) + " samples, " +
                                                         std::to_string(tiles) + " channel tiles, more than a grid holds");
  auto* const kernel = global_avg_pool_kernel<X, Y, kVec>;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(samples), static_cast<unsigned>(tiles)), dim3(kBlockThreads), 0, stream, args);
  check_launch("global_avg_pool_kernel");
}

}  // namespace

void launch_max_pool(const CudaActivation& x, const CudaActivation& y, const PoolWindow& window, const PoolSums& sums,
                     cudaStream_t stream) {
  launch_pool<kMaximum>(x, y, window, sums, stream);
}

void launch_avg_pool(const CudaActivation& x, const CudaActivation& y, const PoolWindow& window, const PoolSums& sums,
                     cudaStream_t stream) {
  launch_pool<kAverage>(x, y, window, sums, stream);
}

void launch_global_avg_pool(const CudaActivation& x, const CudaActivation& y, const PoolSums& sums, cudaStream_t stream) {
  constexpr const char* kOp = "global_avg_pool";
  check_pair(x, y, kOp);
  ELEK_CHECK(y.shape.height == 1 && y.shape.width == 1,
             std::string(kOp) + ": y is " + to_string(y.shape) + ", expected one position");
  ELEK_CHECK(y.dtype == x.dtype || y.dtype == DType::kF32, std::string(kOp) + ": y is " + std::string(name_of(y.dtype)) +
                                                               ", expected F32 or x's " + std::string(name_of(x.dtype)));
  MeanArgs args{};
  args.x = x.data, args.y = y.data, args.x_pitch = x.channel_pitch, args.y_pitch = y.channel_pitch;
  args.channels = x.shape.channels, args.positions = x.shape.positions();
  with_type(x.dtype, kOp, [&](auto type) {
    using X = typename decltype(type)::type;
    const bool fit = vectors_fit(x.data, x.channel_pitch, kFullVector<X>, sizeof(X));
    if (y.dtype == x.dtype) {
      fit ? launch_mean<X, X, kFullVector<X>>(args, x.samples, stream) : launch_mean<X, X, 1>(args, x.samples, stream);
    } else {
      fit ? launch_mean<X, float, kFullVector<X>>(args, x.samples, stream) : launch_mean<X, float, 1>(args, x.samples, stream);
    }
  });
  observe_stored(y, sums, stream);
}

}  // namespace elek::kernels::cuda
