// SPDX-License-Identifier: Apache-2.0
// See channel_map.h. blockIdx.x is one image row of y; one thread per element. That is fast enough, because networks with
// option-A shortcuts are small.
#include <string>

#include "kernels/cuda/channel_map.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/epilogue.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

struct MapArgs {
  const void* x;
  const int32_t* source;
  void* y;
  int64_t x_pitch, x_height, x_width;
  unsigned y_pitch, y_height, y_width;
  int32_t x_channels, y_channels;
  int64_t stride;
};

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) channel_map_kernel(MapArgs args) {
  const unsigned n = blockIdx.x / args.y_height, p = blockIdx.x % args.y_height;
  const unsigned i = blockIdx.y * kBlockThreads + threadIdx.x;  // in the image row
  if (i >= args.y_width * args.y_pitch) return;                 // no barrier below
  const unsigned q = i / args.y_pitch, d = i % args.y_pitch;
  float value = 0.0F;
  if (static_cast<int32_t>(d) < args.y_channels) {
    const int32_t from = args.source[d];
    const int64_t row = (n * args.x_height + p * args.stride) * args.x_width + q * args.stride;
    if (from >= args.x_channels) {
      value = kNanF32;
    } else if (from >= 0) {
      value = to_float(static_cast<const T*>(args.x)[row * args.x_pitch + from]);
    }
  }
  static_cast<T*>(args.y)[static_cast<int64_t>(blockIdx.x) * args.y_width * args.y_pitch + i] = from_float<T>(value);
}

}  // namespace

void check_channel_map(std::span<const int32_t> source, int64_t channels) {
  for (const int32_t s : source) {
    ELEK_CHECK(s < channels,
               "channel_map: source " + std::to_string(s) + " of an input with " + std::to_string(channels) + " channels");
  }
}

void launch_channel_map(const CudaActivation& x, const int32_t* source, int64_t stride, const CudaActivation& y,
                        const PoolSums& sums, cudaStream_t stream) {
  check_activation(x, "channel_map", "x");
  check_activation(y, "channel_map", "y");
  ELEK_CHECK(source != nullptr, "channel_map: the table of sources is missing");
  ELEK_CHECK(stride >= 1 && x.dtype == y.dtype && x.samples == y.samples &&
                 y.shape.height == ceil_div(x.shape.height, stride) && y.shape.width == ceil_div(x.shape.width, stride),
             "channel_map: " + std::to_string(y.samples) + " x " + to_string(y.shape) + " " + std::string(name_of(y.dtype)) +
                 " is not " + std::to_string(x.samples) + " x " + to_string(x.shape) + " " + std::string(name_of(x.dtype)) +
                 " at stride " + std::to_string(stride));
  const int64_t rows = y.samples * y.shape.height, chunks = ceil_div(y.shape.width * y.channel_pitch, kBlockThreads);
  ELEK_CHECK(rows <= INT32_MAX && chunks <= 65535, "channel_map: " + std::to_string(rows) + " image rows of " +
                                                       std::to_string(chunks) + " blocks, more than a grid holds");
  MapArgs args{};
  args.x = x.data, args.source = source, args.y = y.data, args.stride = stride;
  args.x_pitch = x.channel_pitch, args.x_height = x.shape.height, args.x_width = x.shape.width;
  args.y_pitch = static_cast<unsigned>(y.channel_pitch), args.y_height = static_cast<unsigned>(y.shape.height);
  args.y_width = static_cast<unsigned>(y.shape.width);
  args.x_channels = static_cast<int32_t>(x.shape.channels), args.y_channels = static_cast<int32_t>(y.shape.channels);
  with_type(y.dtype, "channel_map", [&](auto type) {
    using T = typename decltype(type)::type;
    auto* const kernel = channel_map_kernel<T>;
    ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(rows), static_cast<unsigned>(chunks)), dim3(kBlockThreads), 0, stream, args);
    check_launch("channel_map_kernel");
  });
  if (sums.totals != nullptr) launch_observe(y, *sums.totals, sums.workspace, sums.workspace_bytes, stream);
}

}  // namespace elek::kernels::cuda
