// SPDX-License-Identifier: Apache-2.0
// See layout.h. One thread writes one element. These kernels do not run for each layer, so their speed matters little.
#include <algorithm>
#include <string>

#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/layout.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

template <typename T>
__global__ void __launch_bounds__(kBlockThreads)
    convert_weights_kernel(WeightConversion w, int64_t elements, int64_t* overflows) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (index >= elements) return;  // no barrier below
  const int64_t taps = w.r * w.s, c = index % w.padded_c, tap = index / w.padded_c % taps, k = index / w.padded_c / taps;
  const float value = k < w.k && c < w.c ? w.kcrs[(k * w.c + c) * taps + tap] : 0.0F;
  const T out = from_float<T>(value);
  static_cast<T*>(w.krsc)[index] = out;
  if (overflows != nullptr && fabsf(value) <= kLargestF32 && !(fabsf(to_float(out)) <= kLargestF32)) {
    atomicAdd(reinterpret_cast<unsigned long long*>(overflows), 1ULL);  // integers: the result does not depend on the order
  }
}

struct NchwArgs {
  void* nhwc;
  int64_t channels, positions, pitch, elements;
};

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) to_nchw_kernel(NchwArgs args, float* __restrict__ out) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;  // index in NHWC without padding
  if (index >= args.elements) return;                                                    // no barrier below
  const int64_t row = index / args.channels, c = index % args.channels;
  const int64_t n = row / args.positions, p = row % args.positions;
  out[(n * args.channels + c) * args.positions + p] = to_float(static_cast<const T*>(args.nhwc)[row * args.pitch + c]);
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) from_nchw_kernel(NchwArgs args, const float* __restrict__ nchw) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;  // index in NHWC with padding
  if (index >= args.elements) return;                                                    // no barrier below
  const int64_t row = index / args.pitch, c = index % args.pitch;
  const int64_t n = row / args.positions, p = row % args.positions;
  static_cast<T*>(args.nhwc)[index] =
      from_float<T>(c < args.channels ? nchw[(n * args.channels + c) * args.positions + p] : 0.0F);
}

dim3 flat_grid(int64_t elements, const char* op) {
  const int64_t blocks = ceil_div(elements, kBlockThreads);
  ELEK_CHECK(blocks <= INT32_MAX, std::string(op) + ": " + std::to_string(elements) + " elements, more than a grid holds");
  return dim3(static_cast<unsigned>(blocks));
}

NchwArgs nchw_args(const CudaActivation& x, int64_t lanes) {
  return {x.data, x.shape.channels, x.shape.positions(), x.channel_pitch, x.rows() * lanes};
}

}  // namespace

void launch_convert_weights(const WeightConversion& w, int64_t* overflows, cudaStream_t stream) {
  constexpr const char* kOp = "convert_weights";
  ELEK_CHECK(w.kcrs != nullptr && w.krsc != nullptr, std::string(kOp) + ": source or destination is missing");
  ELEK_CHECK(std::min({w.k, w.c, w.r, w.s}) >= 1 && w.padded_k >= w.k && w.padded_c >= w.c,
             std::string(kOp) + ": K " + std::to_string(w.k) + " of " + std::to_string(w.padded_k) + ", C " +
                 std::to_string(w.c) + " of " + std::to_string(w.padded_c) + ", taps " + std::to_string(w.r) + "x" +
                 std::to_string(w.s) + ", expected extents >= 1 and padding that does not shrink");
  const int64_t elements = Shape{w.padded_k, w.r, w.s, w.padded_c}.elements();
  const dim3 grid = flat_grid(elements, kOp);
  with_type(w.dtype, kOp, [&](auto type) {
    auto* const kernel = convert_weights_kernel<typename decltype(type)::type>;
    ELEK_LAUNCH(kernel, grid, dim3(kBlockThreads), 0, stream, w, elements, overflows);
    check_launch("convert_weights_kernel");
  });
}

void launch_to_nchw(const CudaActivation& x, float* out, cudaStream_t stream) {
  check_activation(x, "to_nchw", "x");
  ELEK_CHECK(out != nullptr, "to_nchw: the destination is missing");
  const NchwArgs args = nchw_args(x, x.shape.channels);
  with_type(x.dtype, "to_nchw", [&](auto type) {
    auto* const kernel = to_nchw_kernel<typename decltype(type)::type>;
    ELEK_LAUNCH(kernel, flat_grid(args.elements, "to_nchw"), dim3(kBlockThreads), 0, stream, args, out);
    check_launch("to_nchw_kernel");
  });
}

void launch_from_nchw(const float* nchw, const CudaActivation& y, cudaStream_t stream) {
  check_activation(y, "from_nchw", "y");
  ELEK_CHECK(nchw != nullptr, "from_nchw: the source is missing");
  const NchwArgs args = nchw_args(y, y.channel_pitch);
  with_type(y.dtype, "from_nchw", [&](auto type) {
    auto* const kernel = from_nchw_kernel<typename decltype(type)::type>;
    ELEK_LAUNCH(kernel, flat_grid(args.elements, "from_nchw"), dim3(kBlockThreads), 0, stream, args, nchw);
    check_launch("from_nchw_kernel");
  });
}

}  // namespace elek::kernels::cuda
