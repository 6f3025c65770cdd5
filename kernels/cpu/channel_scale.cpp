// SPDX-License-Identifier: Apache-2.0
// See channel_scale.h. One pass, limited by memory. If the value is watched, a second pass over the stored values takes the
// sums.
#include "kernels/cpu/channel_scale.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/stored_types.h"

namespace elek::kernels::cpu {
namespace {

/// Scales `lanes` lanes of one sample, position by position: for blocked layouts and NHWC this is memory order.
template <typename T>
void scale_lanes(const T* x, T* y, const float* factors, int64_t lanes, int64_t positions, int64_t stride) noexcept {
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      y[p * stride + lane] = T(static_cast<float>(x[p * stride + lane]) * factors[lane]);
    }
  }
}

}  // namespace

template <typename T>
void channel_scale(const ActivationView<T>& x, const ActivationView<T>& s, const ActivationView<T>& y, const ChannelSums* sums,
                   int threads) {
  check_view(x, "channel_scale", "x");
  check_view(s, "channel_scale", "s");
  check_view(y, "channel_scale", "y");
  check_same(x, y, "channel_scale", "y");
  ELEK_CHECK(s.samples == x.samples && s.shape == (ImageShape{x.shape.channels, 1, 1}),
             "channel_scale: factors are " + std::to_string(s.samples) + " x " + to_string(s.shape) + " for " +
                 std::to_string(x.samples) + " x " + to_string(x.shape));
  const Geometry g(y);
  const int64_t tasks = y.samples * g.blocks;
  const int parts = parts_for(g.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t task = part_begin(tasks, parts, part, 1); task < part_begin(tasks, parts, part + 1, 1); ++task) {
      const int64_t n = task / g.blocks, first = task % g.blocks * g.block;
      float factors[kLanes] = {};  // padding lanes: zero
      const int64_t lanes = std::min(g.block, g.pitch - first);
      // s has one position, so in every layout channel c is element c.
      for (int64_t c = first; c < std::min(first + lanes, g.channels); ++c) {
        factors[c - first] = static_cast<float>(s.data[n * s.channel_pitch + c]);
      }
      const int64_t at = g.channel_base(n, first);
      scale_lanes(x.data + at, y.data + at, factors, lanes, g.positions, g.row_stride);
    }
  });
  if (sums != nullptr) observe(y, *sums, threads);
}

#define ELEK_INSTANTIATE(T, suffix, dtype)                                                                  \
  template void channel_scale(const ActivationView<T>&, const ActivationView<T>&, const ActivationView<T>&, \
                              const ChannelSums*, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
