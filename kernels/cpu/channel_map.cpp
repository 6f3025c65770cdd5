// SPDX-License-Identifier: Apache-2.0
// See channel_map.h. Copies lane by lane; a second pass takes the sums (observe). That is fast enough, because networks with
// option-A shortcuts are small.
#include "kernels/cpu/channel_map.h"

#include <string>
#include <type_traits>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/stored_types.h"

namespace elek::kernels::cpu {
namespace {

/// One channel of one sample of y: a copy with strides, or zeros.
template <typename T>
void map_channel(const ActivationView<T>& x, const Geometry& gx, int64_t from, int64_t stride, const ActivationView<T>& y,
                 const Geometry& gy, int64_t n, int64_t d) noexcept {
  T* const to = y.data + gy.channel_base(n, d);
  if (from < 0) {
    for (int64_t p = 0; p < gy.positions; ++p) to[p * gy.row_stride] = T();
    return;
  }
  const T* const channel = x.data + gx.channel_base(n, from);
  for (int64_t h = 0; h < y.shape.height; ++h) {
    const T* const line = channel + h * stride * x.shape.width * gx.row_stride;
    T* const out = to + h * y.shape.width * gy.row_stride;
    for (int64_t w = 0; w < y.shape.width; ++w) out[w * gy.row_stride] = line[w * stride * gx.row_stride];
  }
}

}  // namespace

template <typename T>
void channel_map(const ActivationView<T>& x, std::span<const int32_t> source, int64_t stride, const ActivationView<T>& y,
                 const ChannelSums* sums, int threads) {
  check_view(x, "channel_map", "x");
  check_view(y, "channel_map", "y");
  ELEK_CHECK(stride >= 1 && x.samples == y.samples && y.shape.height == (x.shape.height + stride - 1) / stride &&
                 y.shape.width == (x.shape.width + stride - 1) / stride,
             "channel_map: " + std::to_string(y.samples) + " x " + to_string(y.shape) + " is not " + std::to_string(x.samples) +
                 " x " + to_string(x.shape) + " at stride " + std::to_string(stride));
  ELEK_CHECK(static_cast<int64_t>(source.size()) == y.shape.channels, "channel_map: a table of " +
                                                                          std::to_string(source.size()) + " sources for " +
                                                                          std::to_string(y.shape.channels) + " channels");
  for (const int32_t s : source) {
    ELEK_CHECK(s < x.shape.channels, "channel_map: source " + std::to_string(s) + " of an input with " +
                                         std::to_string(x.shape.channels) + " channels");
  }
  const Geometry gx(x), gy(y);
  const int64_t tasks = y.samples * gy.pitch;
  const int parts = parts_for(gy.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    // Parts are whole channel blocks, so that two parts never write the same cache line.
    for (int64_t task = part_begin(tasks, parts, part, gy.block); task < part_begin(tasks, parts, part + 1, gy.block); ++task) {
      const int64_t n = task / gy.pitch, d = task % gy.pitch;
      map_channel(x, gx, d < y.shape.channels ? source[static_cast<size_t>(d)] : -1, stride, y, gy, n, d);
    }
  });
  if constexpr (std::is_integral_v<T>) {
    ELEK_CHECK(sums == nullptr, "channel_map: integers are not summed");
  } else {
    if (sums != nullptr) observe(y, *sums, threads);
  }
}

#define ELEK_INSTANTIATE(T, suffix, dtype)                                                                         \
  template void channel_map(const ActivationView<T>&, std::span<const int32_t>, int64_t, const ActivationView<T>&, \
                            const ChannelSums*, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
ELEK_INTEGER_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
