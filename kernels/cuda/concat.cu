// SPDX-License-Identifier: Apache-2.0
// See concat.h. blockIdx.x is one image row; one thread per element that is written. Neighbouring threads have neighbouring
// channels, so reads and writes are coalesced at any offset, as it is after a cut.
#include <string>

#include "core/error.h"
#include "kernels/cuda/concat.h"
#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"

namespace elek::kernels::cuda {
namespace {

struct ConcatArgs {
  const void* x;
  void* y;  // at the first channel that is written
  int64_t x_pitch, y_pitch;
  unsigned width, channels, written;  // channels of x; channels of y that are written, with padding
};

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) concat_kernel(ConcatArgs args) {
  const unsigned i = blockIdx.y * kBlockThreads + threadIdx.x;  // in the image row
  if (i >= args.width * args.written) return;                   // no barrier below
  const unsigned q = i / args.written, c = i % args.written;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * args.width + q;
  const T value = c < args.channels ? static_cast<const T*>(args.x)[pixel * args.x_pitch + c] : from_float<T>(0.0F);
  static_cast<T*>(args.y)[pixel * args.y_pitch + c] = value;
}

}  // namespace

void launch_concat_part(const CudaActivation& x, const CudaActivation& y, int64_t first, cudaStream_t stream) {
  check_activation(x, "concat", "x");
  check_activation(y, "concat", "y");
  const int64_t last = first + x.shape.channels;
  ELEK_CHECK(x.dtype == y.dtype && x.samples == y.samples && x.shape.height == y.shape.height &&
                 x.shape.width == y.shape.width && first >= 0 && last <= y.shape.channels,
             "concat: " + std::to_string(x.samples) + " x " + to_string(x.shape) + " " + std::string(name_of(x.dtype)) +
                 " does not fit into " + std::to_string(y.samples) + " x " + to_string(y.shape) + " " +
                 std::string(name_of(y.dtype)) + " from channel " + std::to_string(first) + " on");
  const int64_t written = last == y.shape.channels ? y.channel_pitch - first : x.shape.channels;
  const int64_t rows = y.samples * y.shape.height, chunks = ceil_div(y.shape.width * written, kBlockThreads);
  ELEK_CHECK(rows <= INT32_MAX && chunks <= 65535, "concat: " + std::to_string(rows) + " image rows of " +
                                                       std::to_string(chunks) + " blocks, more than a grid holds");
  ConcatArgs args{};
  args.x = x.data, args.x_pitch = x.channel_pitch, args.y_pitch = y.channel_pitch;
  args.width = static_cast<unsigned>(y.shape.width), args.channels = static_cast<unsigned>(x.shape.channels);
  args.written = static_cast<unsigned>(written);
  with_type(y.dtype, "concat", [&](auto type) {
    using T = typename decltype(type)::type;
    args.y = static_cast<T*>(y.data) + first;
    auto* const kernel = concat_kernel<T>;
    ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(rows), static_cast<unsigned>(chunks)), dim3(kBlockThreads), 0, stream, args);
    check_launch("concat_kernel");
  });
}

}  // namespace elek::kernels::cuda
