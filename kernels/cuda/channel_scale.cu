// SPDX-License-Identifier: Apache-2.0
// See channel_scale.h. blockIdx.x is one image row of y; one thread per element. Neighbouring threads access neighbouring
// channels of x, s and y, so accesses are coalesced; s stays in the cache.
#include <string>

#include "kernels/cuda/channel_scale.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/epilogue.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

struct ScaleArgs {
  const void* x;
  const void* s;
  void* y;
  int64_t x_pitch, s_pitch;
  unsigned y_pitch, height, width;
  unsigned channels;
};

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) channel_scale_kernel(ScaleArgs args) {
  const unsigned i = blockIdx.y * kBlockThreads + threadIdx.x;  // in the image row
  if (i >= args.width * args.y_pitch) return;                   // no barrier below
  const unsigned q = i / args.y_pitch, c = i % args.y_pitch;
  const int64_t n = blockIdx.x / args.height, row = static_cast<int64_t>(blockIdx.x) * args.width;
  float value = 0.0F;
  if (c < args.channels) {
    value = to_float(static_cast<const T*>(args.x)[(row + q) * args.x_pitch + c]) *
            to_float(static_cast<const T*>(args.s)[n * args.s_pitch + c]);
  }
  static_cast<T*>(args.y)[row * args.y_pitch + i] = from_float<T>(value);
}

}  // namespace

void launch_channel_scale(const CudaActivation& x, const CudaActivation& s, const CudaActivation& y, const PoolSums& sums,
                          cudaStream_t stream) {
  check_activation(x, "channel_scale", "x");
  check_activation(s, "channel_scale", "s");
  check_activation(y, "channel_scale", "y");
  ELEK_CHECK(x.dtype == y.dtype && s.dtype == y.dtype && x.samples == y.samples && x.shape == y.shape,
             "channel_scale: x is " + std::to_string(x.samples) + " x " + to_string(x.shape) + " " +
                 std::string(name_of(x.dtype)) + ", s " + std::string(name_of(s.dtype)) + ", y " + std::to_string(y.samples) +
                 " x " + to_string(y.shape) + " " + std::string(name_of(y.dtype)));
  ELEK_CHECK(s.samples == y.samples && s.shape == (ImageShape{y.shape.channels, 1, 1}),
             "channel_scale: factors are " + std::to_string(s.samples) + " x " + to_string(s.shape) + " for " +
                 std::to_string(y.samples) + " x " + to_string(y.shape));
  const int64_t rows = y.samples * y.shape.height, chunks = ceil_div(y.shape.width * y.channel_pitch, kBlockThreads);
  ELEK_CHECK(rows <= INT32_MAX && chunks <= 65535, "channel_scale: " + std::to_string(rows) + " image rows of " +
                                                       std::to_string(chunks) + " blocks, more than a grid holds");
  ScaleArgs args{};
  args.x = x.data, args.s = s.data, args.y = y.data;
  args.x_pitch = x.channel_pitch, args.s_pitch = s.channel_pitch;
  args.y_pitch = static_cast<unsigned>(y.channel_pitch), args.height = static_cast<unsigned>(y.shape.height);
  args.width = static_cast<unsigned>(y.shape.width), args.channels = static_cast<unsigned>(y.shape.channels);
  with_type(y.dtype, "channel_scale", [&](auto type) {
    using T = typename decltype(type)::type;
    auto* const kernel = channel_scale_kernel<T>;
    ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(rows), static_cast<unsigned>(chunks)), dim3(kBlockThreads), 0, stream, args);
    check_launch("channel_scale_kernel");
  });
  if (sums.totals != nullptr) launch_observe(y, *sums.totals, sums.workspace, sums.workspace_bytes, stream);
}

}  // namespace elek::kernels::cuda
