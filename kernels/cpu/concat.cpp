// SPDX-License-Identifier: Apache-2.0
// See concat.h. Each task is one channel block of y. It copies runs of channels that lie in one block of x and one of y, so an
// offset may be any number, as it is after a cut. If the blocks lie alike, a run is one piece of memory.
#include "kernels/cpu/concat.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

namespace elek::kernels::cpu {
namespace {

/// `lanes` neighbouring lanes at every position; the strides are those between positions.
template <typename T>
void copy_lanes(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t lanes, int64_t positions) noexcept {
  if (lanes == x_stride && lanes == y_stride) {
    std::copy_n(x, lanes * positions, y);
    return;
  }
  for (int64_t p = 0; p < positions; ++p) std::copy_n(x + p * x_stride, lanes, y + p * y_stride);
}

/// Channels [begin, end) of sample n of y, which lie in one block; the same channels of x begin `first` earlier.
template <typename T>
void copy_block(const ActivationView<T>& x, const Geometry& gx, const ActivationView<T>& y, const Geometry& gy, int64_t n,
                int64_t begin, int64_t end, int64_t first) noexcept {
  for (int64_t d = begin; d < end;) {
    const int64_t c = d - first;
    const int64_t lanes = std::min(end - d, gx.block - c % gx.block);
    copy_lanes(x.data + gx.channel_base(n, c), gx.row_stride, y.data + gy.channel_base(n, d), gy.row_stride, lanes,
               gy.positions);
    d += lanes;
  }
}

}  // namespace

template <typename T>
void concat_part(const ActivationView<T>& x, const ActivationView<T>& y, int64_t first, int threads) {
  check_view(x, "concat", "x");
  check_view(y, "concat", "y");
  const int64_t last = first + x.shape.channels;
  ELEK_CHECK(x.samples == y.samples && x.shape.height == y.shape.height && x.shape.width == y.shape.width && first >= 0 &&
                 last <= y.shape.channels,
             "concat: " + std::to_string(x.samples) + " x " + to_string(x.shape) + " does not fit into " +
                 std::to_string(y.samples) + " x " + to_string(y.shape) + " from channel " + std::to_string(first) + " on");
  const Geometry gx(x), gy(y);
  const int64_t end = last == y.shape.channels ? gy.pitch : last;  // with the padding lanes
  const int64_t first_block = first / gy.block, blocks = (end + gy.block - 1) / gy.block - first_block;
  const int64_t tasks = y.samples * blocks;
  const int parts = parts_for(gx.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t task = part_begin(tasks, parts, part, 1); task < part_begin(tasks, parts, part + 1, 1); ++task) {
      const int64_t n = task / blocks, from = (first_block + task % blocks) * gy.block;
      copy_block(x, gx, y, gy, n, std::max(from, first), std::min(from + gy.block, last), first);
      for (int64_t d = std::max(from, last); d < std::min(from + gy.block, end); ++d) {
        T* const lane = y.data + gy.channel_base(n, d);
        for (int64_t p = 0; p < gy.positions; ++p) lane[p * gy.row_stride] = T();
      }
    }
  });
}

#define ELEK_INSTANTIATE(T, suffix, dtype) \
  template void concat_part(const ActivationView<T>&, const ActivationView<T>&, int64_t, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
