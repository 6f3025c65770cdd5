// SPDX-License-Identifier: Apache-2.0
// See epilogue.h. epilogue_kernel writes partial sums per slot (device/tiles.h); fold_sums_kernel adds them to the totals. All
// partial sums are doubles, [slot][array][channel]. Counts are integers far below 2^53, so they are exact too.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/sums.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/epilogue.h"

namespace elek::kernels::cuda {
namespace {

enum SumMode : int { kNoSums = 0, kActivitySums = 4, kEverySum = 8 };  // the value is the number of arrays
enum Array : int { kNonfinite, kSum, kSumSq, kActive, kZSum, kZSumSq, kAbsSum, kMax };

constexpr int kChain = 8;          // f32 terms per chain: gives the error bound of epilogue.h
constexpr float kLarge = 0x1p40F;  // larger values and NaN are added in double directly: a square might overflow

__device__ inline bool is_finite(float v) { return fabsf(v) <= kLargestF32; }

struct EpilogueArgs {
  const void* z;
  const void* residual;
  void* y;
  const float* scale;
  const float* shift;
  double* partial;
  int64_t pitch;
  int64_t channels;
  Slots slots;
  int lanes;
  float lowest;           // below it, 0 is stored: 0 for ReLU, -infinity for no activation
  Activation activation;  // any other activation
  float threshold;
};

/// The sums of one thread's kVec channels. Members that a mode does not use cost nothing: the compiler drops them.
template <int kVec, int kMode>
struct ThreadSums {
  float sum[kVec], sum_sq[kVec], z_sum[kVec], z_sum_sq[kVec], abs_sum[kVec], max[kVec];
  int active[kVec], nonfinite[kVec];
  double totals[kMode][kVec];

  __device__ void clear_chains() {
#pragma unroll
    for (int i = 0; i < kVec; ++i) sum[i] = sum_sq[i] = z_sum[i] = z_sum_sq[i] = abs_sum[i] = 0.0F;
  }
  __device__ void clear() {
    clear_chains();
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      active[i] = nonfinite[i] = 0;
      max[i] = -kInfinity;
#pragma unroll
      for (int a = 0; a < kMode; ++a) totals[a][i] = 0.0;
    }
  }
  /// y: as stored; z: before the residual.
  __device__ void add(int i, float y, float z, float threshold) {
    if (fabsf(y) <= kLarge) {
      sum[i] += y;
      sum_sq[i] = fmaf(y, y, sum_sq[i]);
      if constexpr (kMode == kEverySum) abs_sum[i] += fabsf(y);
    } else {  // rare: NaN, infinity, or a square that may overflow f32
      const auto wide = static_cast<double>(y);
      totals[kSum][i] += wide;
      totals[kSumSq][i] += wide * wide;
      if constexpr (kMode == kEverySum) totals[kAbsSum][i] += fabs(wide);
      nonfinite[i] += is_finite(y) ? 0 : 1;
    }
    active[i] += y > threshold ? 1 : 0;
    if constexpr (kMode == kEverySum) {
      max[i] = keep_larger(max[i], y);
      if (fabsf(z) <= kLarge) {
        z_sum[i] += z;
        z_sum_sq[i] = fmaf(z, z, z_sum_sq[i]);
      } else {
        const auto wide = static_cast<double>(z);
        totals[kZSum][i] += wide;
        totals[kZSumSq][i] += wide * wide;
      }
    }
  }
  __device__ void flush() {
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      totals[kSum][i] += static_cast<double>(sum[i]);
      totals[kSumSq][i] += static_cast<double>(sum_sq[i]);
      if constexpr (kMode == kEverySum) {
        totals[kZSum][i] += static_cast<double>(z_sum[i]);
        totals[kZSumSq][i] += static_cast<double>(z_sum_sq[i]);
        totals[kAbsSum][i] += static_cast<double>(abs_sum[i]);
      }
    }
    clear_chains();
  }
  __device__ void finish() {
    flush();
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      totals[kNonfinite][i] = static_cast<double>(nonfinite[i]);
      totals[kActive][i] = static_cast<double>(active[i]);
      if constexpr (kMode == kEverySum) totals[kMax][i] = static_cast<double>(max[i]);
    }
  }
};

__device__ inline float clip(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

/// Uses comparisons, not fminf and fmaxf, so that NaN stays NaN. All threads take the same branches.
__device__ inline float activate(const Activation& activation, float v) {
  switch (activation.kind) {
    case Activation::Kind::kNone:
      break;
    case Activation::Kind::kRelu:
      return v < 0.0F ? 0.0F : v;
    case Activation::Kind::kClip:
      return clip(v, activation.low, activation.high);
    case Activation::Kind::kLeakyRelu:
      return v < 0.0F ? activation.slope * v : v;
    case Activation::Kind::kSigmoid:
      return 1.0F / (1.0F + expf(-v));
    case Activation::Kind::kHardSwish:
      return v * (clip(v + 3.0F, 0.0F, 6.0F) * (1.0F / 6.0F));
    case Activation::Kind::kSilu:
      return v < -100.0F ? 0.0F : v / (1.0F + expf(-v));
  }
  return v;
}

/// One pixel of one thread: computes y from z and stores it. Lanes from `valid` on are padding and become zero.
template <int kVec, bool kStore, typename Z, typename Y>
__device__ inline void one_pixel(const EpilogueArgs& args, int64_t at, int valid, const float (&scale)[kVec],
                                 const float (&shift)[kVec], float (&z)[kVec], float (&y)[kVec]) {
  if constexpr (!kStore) {
    load_vector<kVec>(static_cast<const Y*>(args.y) + at, y);
#pragma unroll
    for (int i = 0; i < kVec; ++i) z[i] = 0.0F;
  } else {
    float residual[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) residual[i] = 0.0F;
    load_vector<kVec>(static_cast<const Z*>(args.z) + at, z);
    if (args.residual != nullptr) load_vector<kVec>(static_cast<const Y*>(args.residual) + at, residual);
    Y out[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      z[i] = fmaf(z[i], scale[i], shift[i]);
      float v = z[i] + residual[i];
      if (args.activation.kind != Activation::Kind::kNone) v = activate(args.activation, v);
      out[i] = from_float<Y>(v < args.lowest || i >= valid ? 0.0F : v);  // not fmaxf: NaN stays NaN
      y[i] = to_float(out[i]);                                           // the value that the next layer reads
    }
    store_vector<kVec>(static_cast<Y*>(args.y) + at, out);
  }
}

/// A block processes one slot and one tile of channels; a thread kVec channels of every `rows`-th pixel of the slot. No thread
/// returns before the barrier in reduce_tile: threads beyond the pitch process no pixels.
template <typename Z, typename Y, int kVec, int kMode, bool kStore>
__global__ void __launch_bounds__(kBlockThreads) epilogue_kernel(EpilogueArgs args) {
  const TileThread at = tile_thread<kVec>(args.lanes, blockIdx.y);
  const RowRange rows = slot_rows(args.slots, blockIdx.x);
  const int64_t left = args.channels - at.channel;
  const int valid = static_cast<int>(left < 0 ? 0 : left < kVec ? left : kVec);
  float scale[kVec], shift[kVec], z[kVec], y[kVec];
#pragma unroll
  for (int i = 0; i < kVec; ++i) {
    scale[i] = args.scale != nullptr && i < valid ? args.scale[at.channel + i] : 1.0F;
    shift[i] = args.shift != nullptr && i < valid ? args.shift[at.channel + i] : 0.0F;
  }
  ThreadSums<kVec, kMode> sums;
  if constexpr (kMode != kNoSums) sums.clear();
  int chained = 0;
  const int64_t first = at.channel < args.pitch ? rows.begin + at.row : rows.end;
#pragma unroll 2
  for (int64_t r = first; r < rows.end; r += at.rows) {
    one_pixel<kVec, kStore, Z, Y>(args, r * args.pitch + at.channel, valid, scale, shift, z, y);  // 64-bit: may exceed 2^31
    if constexpr (kMode != kNoSums) {
#pragma unroll
      for (int i = 0; i < kVec; ++i) sums.add(i, y[i], z[i], args.threshold);
      if (++chained == kChain) {
        sums.flush();
        chained = 0;
      }
    }
  }
  if constexpr (kMode != kNoSums) {
    ELEK_SHARED(double, shared, kReduceDoubles<kMode>);
    sums.finish();
    double* const partial = args.partial + static_cast<int64_t>(blockIdx.x) * kMode * args.channels;
    const int64_t tile = static_cast<int64_t>(blockIdx.y) * args.lanes * kVec;
    reduce_tile<kMode, kVec, kMax>(sums.totals, args.lanes, shared, [&](int array, int c, double value) {
      if (tile + c < args.channels) partial[array * args.channels + tile + c] = value;
    });
  }
}

struct FoldArgs {
  const double* partial;
  SumArrays totals;  // a null array is not wanted
  int64_t channels;
  int64_t groups;
  int64_t splits;
  int64_t positions;  // pixels per group
  int per_sample;     // nonzero: each group is a sample
};

constexpr int kFoldChannels = 8, kFoldSegments = kBlockThreads / kFoldChannels;

struct FoldSums {
  double sums[kEverySum];
  double fired, mean_peak, mean_sum, mean_sum_sq;
};

/// Adds groups [begin, end) of one channel, in order. With kPerSample a group is a sample.
template <int kMode>
__device__ inline FoldSums fold_groups(const FoldArgs& args, int64_t channel, int64_t begin, int64_t end) {
  FoldSums f{};
  f.sums[kMax] = f.mean_peak = -static_cast<double>(kInfinity);
  for (int64_t group = begin; group < end; ++group) {
    double group_sum = 0, group_active = 0;
#pragma unroll 4
    for (int64_t split = 0; split < args.splits; ++split) {
      const double* const from = args.partial + (group * args.splits + split) * kMode * args.channels + channel;
#pragma unroll
      for (int a = 0; a < kMode; ++a) {
        const double value = from[a * args.channels];
        if (a == kMax) {
          f.sums[a] = keep_larger(f.sums[a], value);
        } else if (a == kSum) {
          group_sum += value;
        } else if (a == kActive) {
          group_active += value;
        } else {
          f.sums[a] += value;
        }
      }
    }
    f.sums[kSum] += group_sum;
    f.sums[kActive] += group_active;
    const double mean = group_sum / static_cast<double>(args.positions);
    f.fired += group_active > 0 ? 1 : 0;
    f.mean_peak = keep_larger(f.mean_peak, mean);
    f.mean_sum += mean;
    f.mean_sum_sq += mean * mean;
  }
  return f;
}

template <typename T>
__device__ inline void combine_to(Combine how, T* total, int64_t channel, double value) {  // if T is int64, value is an integer
  if (total != nullptr) total[channel] = combined(how, total[channel], static_cast<T>(value));
}

constexpr int kFoldArrays = kEverySum + 4, kFired = kEverySum, kMeanPeak = kFired + 1, kMeanSum = kFired + 2,
              kMeanSumSq = kFired + 3;

// Array 0 counts values that are not finite; the others are numbered in the order of the table of sums.
static_assert(kSum == 1 + sum_index("sum") && kSumSq == 1 + sum_index("sum_sq") && kActive == 1 + sum_index("active") &&
              kZSum == 1 + sum_index("z_sum") && kZSumSq == 1 + sum_index("z_sum_sq") && kAbsSum == 1 + sum_index("abs_sum") &&
              kMax == 1 + sum_index("max") && kFired == 1 + sum_index("fired") && kMeanPeak == 1 + sum_index("mean_peak") &&
              kMeanSum == 1 + sum_index("mean_sum") && kMeanSumSq == 1 + sum_index("mean_sum_sq"));

__device__ inline void add_array(const SumArrays& t, int array, int64_t c, double value) {
  if (array == kNonfinite) combine_to(Combine::kAdd, t.nonfinite, c, value);
  int row = kNonfinite;
#define ELEK_ADD(name, set, type, combine) \
  if (array == ++row) combine_to(Combine::combine, t.name, c, value);
  ELEK_SUMS(ELEK_ADD)
#undef ELEK_ADD
}

/// A block processes 8 channels. 32 threads per channel each add a segment of the groups in order (without kPerSample, of the
/// splits). Then one thread per array and channel adds the segments in order. Threads without a channel also reach the barrier.
template <int kMode>
__global__ void __launch_bounds__(kBlockThreads) fold_sums_kernel(FoldArgs args) {
  ELEK_SHARED(double, shared, kFoldArrays* kBlockThreads);
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kFoldChannels, segment = tid / kFoldChannels;
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kFoldChannels + lane;
  if (args.per_sample == 0) {  // each slot becomes a group, so that more threads work
    args.groups = args.splits;
    args.splits = 1;
  }
  const int64_t share = ceil_div(args.groups, kFoldSegments), begin = segment * share;
  const int64_t end = begin + share < args.groups ? begin + share : args.groups;
  if (channel < args.channels) {
    const FoldSums f = fold_groups<kMode>(args, channel, begin, end);
#pragma unroll
    for (int a = 0; a < kMode; ++a) shared[a * kBlockThreads + tid] = f.sums[a];
    shared[kFired * kBlockThreads + tid] = f.fired;
    shared[kMeanPeak * kBlockThreads + tid] = f.mean_peak;
    shared[kMeanSum * kBlockThreads + tid] = f.mean_sum;
    shared[kMeanSumSq * kBlockThreads + tid] = f.mean_sum_sq;
  }
  __syncthreads();
  const int array = segment;  // 32 segments are enough: kFoldArrays is not larger
  if (array >= kFoldArrays || channel >= args.channels || (array >= kMode && array < kEverySum)) return;
  const bool maximum = array == kMax || array == kMeanPeak;
  double total = shared[array * kBlockThreads + lane];
  for (int s = 1; s < kFoldSegments; ++s) {
    const double other = shared[array * kBlockThreads + s * kFoldChannels + lane];
    total = maximum ? keep_larger(total, other) : total + other;
  }
  add_array(args.totals, array, channel, total);
}
static_assert(kFoldArrays <= kFoldSegments);

int64_t array_count(uint32_t sets) { return (sets & (kMoments | kAbsolute | kRange)) != 0 ? kEverySum : kActivitySums; }

/// The sums that one call takes, checked before anything is enqueued.
struct SumJob {
  SumArrays totals;
  uint32_t sets = 0;
  int mode = kNoSums;
  double* partial = nullptr;
  float threshold = 0.0F;
};

SumJob make_job(const ChannelTotals* totals, uint32_t only, bool stores, const CudaActivation& y, void* workspace,
                size_t workspace_bytes, const char* op) {
  SumJob job;
  if (totals == nullptr) return job;
  job.sets = totals->sets & only & (stores ? kAllSums : ~uint32_t{kMoments});
  job.totals = only_sets(totals->arrays, job.sets, only == kAllSums ? Nonfinite::kCount : Nonfinite::kLeave);
  job.mode = static_cast<int>(array_count(job.sets));
  job.threshold = totals->threshold;
  job.partial = static_cast<double*>(workspace);
  const size_t needed = epilogue_workspace_bytes(y.samples, y.shape, job.sets);
  ELEK_CHECK(totals->channels == y.shape.channels && totals->arrays.nonfinite != nullptr,
             std::string(op) + ": totals of " + std::to_string(totals->channels) + " channels for a value of " +
                 std::to_string(y.shape.channels));
  ELEK_CHECK(workspace != nullptr && reinterpret_cast<uintptr_t>(workspace) % 8 == 0 && workspace_bytes >= needed,
             std::string(op) + ": a workspace of " + std::to_string(workspace_bytes) + " bytes, expected " +
                 std::to_string(needed) + ", aligned to 8");
  return job;
}

template <typename Z, typename Y, int kVec, int kMode, bool kStore>
void launch_pass(EpilogueArgs args, int64_t blocks, cudaStream_t stream) {
  args.lanes = tile_lanes(args.pitch, kVec, std::max(sizeof(Y), sizeof(Z)));
  const int64_t tiles = ceil_div(args.pitch, static_cast<int64_t>(args.lanes) * kVec);
  ELEK_CHECK(blocks <= INT32_MAX && tiles <= 65535, "epilogue: " + std::to_string(blocks) + " runs of pixels, " +
                                                        std::to_string(tiles) + " channel tiles, more than a grid holds");
  auto* const kernel = epilogue_kernel<Z, Y, kVec, kMode, kStore>;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(tiles));
  ELEK_LAUNCH(kernel, grid, dim3(kBlockThreads), 0, stream, args);
  check_launch("epilogue_kernel");
}

/// Uses vectors of 16 bytes of y. With all sums it uses 4 channels, because the sums of 8 channels (16-bit types) would not fit
/// in registers.
template <typename Z, typename Y, int kMode, bool kStore>
void launch_vectors(const EpilogueArgs& args, int64_t blocks, cudaStream_t stream) {
  constexpr int kVec = kMode == kEverySum ? 4 : kFullVector<Y>;
  const bool fit = vectors_fit(args.y, args.pitch, kVec, sizeof(Y)) &&
                   (args.residual == nullptr || vectors_fit(args.residual, args.pitch, kVec, sizeof(Y))) &&
                   (!kStore || vectors_fit(args.z, args.pitch, kVec, sizeof(Z)));
  if (fit) {
    launch_pass<Z, Y, kVec, kMode, kStore>(args, blocks, stream);
  } else {
    launch_pass<Z, Y, 1, kMode, kStore>(args, blocks, stream);
  }
}

template <typename Z, typename Y, bool kStore>
void launch_sums(EpilogueArgs args, const CudaActivation& y, const SumJob& job, cudaStream_t stream) {
  const bool per_sample = (job.sets & kPerSample) != 0;
  const int64_t positions = y.shape.positions();
  args.slots = per_sample ? make_slots(y.samples, positions, y.shape.channels) : make_slots(1, y.rows(), y.shape.channels);
  args.partial = job.partial;
  args.threshold = job.threshold;
  const int64_t slots = args.slots.count();
  if (job.mode == kNoSums) {
    if constexpr (kStore) launch_vectors<Z, Y, kNoSums, kStore>(args, slots, stream);
    return;
  }
  const FoldArgs fold{job.partial,           job.totals,        args.channels, args.slots.groups, args.slots.splits,
                      args.slots.group_rows, per_sample ? 1 : 0};
  const dim3 grid(static_cast<unsigned>(ceil_div(args.channels, kFoldChannels)));
  if (job.mode == kActivitySums) {
    launch_vectors<Z, Y, kActivitySums, kStore>(args, slots, stream);
    auto* const kernel = fold_sums_kernel<kActivitySums>;
    ELEK_LAUNCH(kernel, grid, dim3(kBlockThreads), 0, stream, fold);
  } else {
    launch_vectors<Z, Y, kEverySum, kStore>(args, slots, stream);
    auto* const kernel = fold_sums_kernel<kEverySum>;
    ELEK_LAUNCH(kernel, grid, dim3(kBlockThreads), 0, stream, fold);
  }
  check_launch("fold_sums_kernel");
}

void check_same(const CudaActivation& a, const char* a_name, const CudaActivation& y, const char* op) {
  check_activation(a, op, a_name);
  ELEK_CHECK(a.samples == y.samples && a.shape == y.shape && a.channel_pitch == y.channel_pitch,
             std::string(op) + ": " + a_name + " is " + std::to_string(a.samples) + " x " + to_string(a.shape) + " pitch " +
                 std::to_string(a.channel_pitch) + ", y " + std::to_string(y.samples) + " x " + to_string(y.shape) + " pitch " +
                 std::to_string(y.channel_pitch));
}

}  // namespace

size_t epilogue_workspace_bytes(int64_t samples, const ImageShape& shape, uint32_t sets) {
  ELEK_CHECK(samples >= 1 && std::min({shape.channels, shape.height, shape.width}) >= 1,
             "epilogue workspace: " + std::to_string(samples) + " x " + to_string(shape));
  const int64_t slots = (sets & kPerSample) != 0 ? most_slots(samples, shape.positions(), shape.channels)
                                                 : most_slots(1, samples * shape.positions(), shape.channels);
  return static_cast<size_t>(slots * array_count(sets) * shape.channels) * sizeof(double);
}

void launch_epilogue(const Epilogue& e, cudaStream_t stream) {
  constexpr const char* kOp = "epilogue";
  check_activation(e.y, kOp, "y");
  check_same(e.z, "z", e.y, kOp);
  ELEK_CHECK(e.z.dtype == e.y.dtype || e.z.dtype == DType::kF32,
             std::string(kOp) + ": z is " + std::string(name_of(e.z.dtype)) + ", expected F32 or y's " +
                 std::string(name_of(e.y.dtype)));
  const SumJob job = make_job(e.totals, kAllSums, true, e.y, e.workspace, e.workspace_bytes, kOp);
  EpilogueArgs args{};
  args.z = e.z.data, args.y = e.y.data, args.residual = e.residual, args.scale = e.scale, args.shift = e.shift;
  args.pitch = e.y.channel_pitch, args.channels = e.y.shape.channels;
  args.lowest = e.activation.is_relu() ? 0.0F : -kInfinity;
  if (!e.activation.is_plain()) args.activation = e.activation;
  with_type(e.y.dtype, kOp, [&](auto type) {
    using Y = typename decltype(type)::type;
    if (e.z.dtype == e.y.dtype) {
      launch_sums<Y, Y, true>(args, e.y, job, stream);
    } else {
      launch_sums<float, Y, true>(args, e.y, job, stream);
    }
  });
}

void launch_observe(const CudaActivation& y, const ChannelTotals& totals, void* workspace, size_t workspace_bytes,
                    cudaStream_t stream, uint32_t only) {
  constexpr const char* kOp = "observe";
  check_activation(y, kOp, "y");
  const SumJob job = make_job(&totals, only, false, y, workspace, workspace_bytes, kOp);
  EpilogueArgs args{};
  args.y = y.data, args.pitch = y.channel_pitch, args.channels = y.shape.channels;
  with_type(y.dtype, kOp, [&](auto type) {
    using Y = typename decltype(type)::type;
    launch_sums<Y, Y, false>(args, y, job, stream);
  });
}

}  // namespace elek::kernels::cuda
