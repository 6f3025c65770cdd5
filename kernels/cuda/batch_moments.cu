// SPDX-License-Identifier: Apache-2.0
// See batch_moments.h. A thread subtracts the mean of blocks of 8 rows in registers and merges the blocks in double. Threads
// are merged in a fixed tree. finish_moments_kernel merges the slots (device/tiles.h) in order. Counts follow from the shapes
// and are not stored.
#include <algorithm>
#include <string>

#include "kernels/cuda/batch_moments.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

constexpr int kVec = 4;        // channels per thread
constexpr int kBlockRows = 8;  // rows that share one mean
constexpr int kMomentTile = 32 * kVec;

/// Count, mean and sum of squared differences from the mean.
struct Moment {
  double count, mean, m2;
};

/// Chan, Golub & LeVeque 1983. If one side is empty, returns the other.
__device__ inline Moment merge(const Moment& a, const Moment& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double count = a.count + b.count, weight = b.count / count, delta = b.mean - a.mean;
  return {count, a.mean + delta * weight, a.m2 + b.m2 + delta * delta * (a.count * weight)};
}

/// Moments of `rows` <= kBlockRows values. The mean is computed from differences to the first value, so a constant has m2 = 0
/// exactly.
__device__ inline Moment block_moment(const float (&x)[kBlockRows], int rows) {
  const float first = x[0];
  float sum = 0.0F;
#pragma unroll
  for (int r = 0; r < kBlockRows; ++r) sum += r < rows ? x[r] - first : 0.0F;
  const float mean = first + sum / static_cast<float>(rows);
  float rest = 0.0F, squares = 0.0F;
#pragma unroll
  for (int r = 0; r < kBlockRows; ++r) {
    const float d = r < rows ? x[r] - mean : 0.0F;
    rest += d;
    squares = fmaf(d, d, squares);
  }
  const double n = rows, left = static_cast<double>(rest) / n;  // the error of the mean, which was rounded to f32
  const double m2 = static_cast<double>(squares) - left * left * n;
  return {n, static_cast<double>(mean) + left, m2 < 0 ? 0.0 : m2};
}

struct MomentArgs {
  const void* z;
  double* partial;  // [slot][mean, m2][channel]
  int64_t pitch;
  int64_t channels;
  Slots slots;
  int lanes;
};

template <typename T, int kLoad>
__device__ inline void thread_moments(const MomentArgs& args, const TileThread& at, const RowRange& rows,
                                      Moment (&moments)[kLoad]) {
  const T* const z = static_cast<const T*>(args.z) + at.channel;
  for (int64_t r = rows.begin + at.row; r < rows.end; r += static_cast<int64_t>(at.rows) * kBlockRows) {
    float x[kLoad][kBlockRows];
    int count = 0;
#pragma unroll
    for (int i = 0; i < kBlockRows; ++i) {
      const int64_t row = r + static_cast<int64_t>(i) * at.rows;
      float v[kLoad] = {};
      if (row < rows.end) {
        load_vector<kLoad>(z + row * args.pitch, v);
        count = i + 1;
      }
#pragma unroll
      for (int c = 0; c < kLoad; ++c) x[c][i] = v[c];
    }
#pragma unroll
    for (int c = 0; c < kLoad; ++c) moments[c] = merge(moments[c], block_moment(x[c], count));
  }
}

/// A block processes one slot and one tile of channels; a thread kLoad channels of every `rows`-th pixel. No thread returns
/// before the barrier.
template <typename T, int kLoad>
__global__ void __launch_bounds__(kBlockThreads) batch_moments_kernel(MomentArgs args) {
  ELEK_SHARED(Moment, shared, (kBlockThreads / 32) * kMomentTile);
  const TileThread at = tile_thread<kLoad>(args.lanes, blockIdx.y);
  const RowRange rows = slot_rows(args.slots, blockIdx.x);
  Moment moments[kLoad];
#pragma unroll
  for (int c = 0; c < kLoad; ++c) moments[c] = Moment{0, 0, 0};
  if (at.channel < args.pitch) thread_moments<T, kLoad>(args, at, rows, moments);
  for (int distance = 16; distance >= args.lanes; distance /= 2) {
#pragma unroll
    for (int c = 0; c < kLoad; ++c) {
      const Moment other{__shfl_down_sync(0xffffffffU, moments[c].count, static_cast<unsigned>(distance)),
                         __shfl_down_sync(0xffffffffU, moments[c].mean, static_cast<unsigned>(distance)),
                         __shfl_down_sync(0xffffffffU, moments[c].m2, static_cast<unsigned>(distance))};
      moments[c] = merge(moments[c], other);
    }
  }
  const int tid = static_cast<int>(threadIdx.x), warp = tid / 32, lane = tid % 32, tile = args.lanes * kLoad;
  if (lane < args.lanes) {
#pragma unroll
    for (int c = 0; c < kLoad; ++c) shared[warp * tile + lane * kLoad + c] = moments[c];
  }
  __syncthreads();
  const int64_t channel = static_cast<int64_t>(blockIdx.y) * tile + tid;
  if (tid >= tile || channel >= args.channels) return;
  Moment all = shared[tid];
  for (int w = 1; w < kBlockThreads / 32; ++w) all = merge(all, shared[w * tile + tid]);
  double* const partial = args.partial + static_cast<int64_t>(blockIdx.x) * 2 * args.channels + channel;
  partial[0] = all.mean;
  partial[args.channels] = all.m2;
}

constexpr int kFinishChannels = 8, kFinishSegments = kBlockThreads / kFinishChannels;

/// A block processes 8 channels. 32 threads per channel each merge a segment of the slots in order; then one thread per channel
/// merges the segments in order.
__global__ void __launch_bounds__(kBlockThreads)
    finish_moments_kernel(const double* __restrict__ partial, Slots slots, int64_t channels, MomentArrays out) {
  ELEK_SHARED(Moment, shared, kBlockThreads);
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kFinishChannels, segment = tid / kFinishChannels;
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kFinishChannels + lane;
  const int64_t share = ceil_div(slots.splits, kFinishSegments), begin = segment * share;
  const int64_t end = begin + share < slots.splits ? begin + share : slots.splits;
  Moment all{0, 0, 0};
  for (int64_t slot = begin; slot < end && channel < channels; ++slot) {
    const RowRange rows = slot_rows(slots, slot);
    const double* const from = partial + slot * 2 * channels + channel;
    all = merge(all, Moment{static_cast<double>(rows.end - rows.begin), from[0], from[channels]});
  }
  shared[tid] = all;
  __syncthreads();
  if (segment != 0 || channel >= channels) return;
  for (int s = 1; s < kFinishSegments; ++s) all = merge(all, shared[s * kFinishChannels + lane]);
  if (out.mean != nullptr) out.mean[channel] = all.mean;
  if (out.variance_biased != nullptr) out.variance_biased[channel] = all.m2 / all.count;
  if (out.variance_unbiased != nullptr) out.variance_unbiased[channel] = all.count > 1 ? all.m2 / (all.count - 1) : all.m2;
}

template <typename T, int kLoad>
void launch_pass(MomentArgs args, cudaStream_t stream) {
  args.lanes = std::min(32, tile_lanes(args.pitch, kLoad, sizeof(T)));
  const int64_t tiles = ceil_div(args.pitch, static_cast<int64_t>(args.lanes) * kLoad);
  ELEK_CHECK(tiles <= 65535, "batch_moments: " + std::to_string(tiles) + " channel tiles, more than a grid holds");
  auto* const kernel = batch_moments_kernel<T, kLoad>;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(args.slots.count()), static_cast<unsigned>(tiles)), dim3(kBlockThreads), 0,
              stream, args);
  check_launch("batch_moments_kernel");
}

/// One thread per channel.
__global__ void __launch_bounds__(kBlockThreads) normalisation_kernel(Normalisation n) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (c >= n.channels) return;  // no barrier below
  (void)normalise_channel(n, c);
}

}  // namespace

size_t batch_moments_workspace_bytes(int64_t samples, const ImageShape& shape) {
  ELEK_CHECK(samples >= 1 && std::min({shape.channels, shape.height, shape.width}) >= 1,
             "batch_moments workspace: " + std::to_string(samples) + " x " + to_string(shape));
  return static_cast<size_t>(most_slots(1, samples * shape.positions(), shape.channels) * 2 * shape.channels) * sizeof(double);
}

void launch_batch_moments(const CudaActivation& z, const MomentArrays& out, void* workspace, size_t workspace_bytes,
                          cudaStream_t stream) {
  constexpr const char* kOp = "batch_moments";
  check_activation(z, kOp, "z");
  ELEK_CHECK(out.mean != nullptr || out.variance_biased != nullptr || out.variance_unbiased != nullptr,
             std::string(kOp) + ": nothing is wanted");
  const size_t needed = batch_moments_workspace_bytes(z.samples, z.shape);
  ELEK_CHECK(workspace != nullptr && reinterpret_cast<uintptr_t>(workspace) % 8 == 0 && workspace_bytes >= needed,
             std::string(kOp) + ": a workspace of " + std::to_string(workspace_bytes) + " bytes, expected " +
                 std::to_string(needed) + ", aligned to 8");
  MomentArgs args{};
  args.z = z.data, args.partial = static_cast<double*>(workspace), args.pitch = z.channel_pitch,
  args.channels = z.shape.channels;
  args.slots = make_slots(1, z.rows(), z.shape.channels);
  with_type(z.dtype, kOp, [&](auto type) {
    using T = typename decltype(type)::type;
    if (vectors_fit(z.data, z.channel_pitch, kVec, sizeof(T))) {
      launch_pass<T, kVec>(args, stream);
    } else {
      launch_pass<T, 1>(args, stream);
    }
  });
  auto* const kernel = finish_moments_kernel;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(ceil_div(args.channels, kFinishChannels))), dim3(kBlockThreads), 0, stream,
              args.partial, args.slots, args.channels, out);
  check_launch("finish_moments_kernel");
}

void launch_normalisation(const Normalisation& n, cudaStream_t stream) {
  check_normalisation(n);
  auto* const kernel = normalisation_kernel;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(ceil_div(n.channels, kBlockThreads))), dim3(kBlockThreads), 0, stream, n);
  check_launch("normalisation_kernel");
}

}  // namespace elek::kernels::cuda
