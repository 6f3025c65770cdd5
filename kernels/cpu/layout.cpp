// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/layout_test.cpp
#include "kernels/cpu/layout.h"

#include <type_traits>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

namespace elek::kernels::cpu {

template <typename T, typename To>
void to_nchw(const ActivationView<T>& x, To* dst, int threads) {
  check_view(x, "to_nchw", "x");
  ELEK_CHECK(dst != nullptr, "to_nchw: no place for the result");
  const Geometry from(x);
  const int64_t positions = from.positions, planes = from.samples * from.channels;
  const int parts = parts_for(planes * positions, threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t i = part_begin(planes, parts, part, 1); i < part_begin(planes, parts, part + 1, 1); ++i) {
      const T* const channel = x.data + from.channel_base(i / from.channels, i % from.channels);
      To* const to = dst + i * positions;
      for (int64_t p = 0; p < positions; ++p) to[p] = static_cast<To>(channel[p * from.row_stride]);
    }
  });
}

template <typename T>
void from_nchw(const float* src, const ActivationView<T>& y, int threads) {
  check_view(y, "from_nchw", "y");
  ELEK_CHECK(src != nullptr, "from_nchw: no values");
  const Geometry to(y);
  const int64_t positions = to.positions, planes = to.samples * to.pitch;
  const int parts = parts_for(planes * positions, threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t i = part_begin(planes, parts, part, 1); i < part_begin(planes, parts, part + 1, 1); ++i) {
      const int64_t n = i / to.pitch, c = i % to.pitch;
      T* const channel = y.data + to.channel_base(n, c);
      const float* const from = src + (n * to.channels + c) * positions;
      const bool padding = c >= to.channels;
      for (int64_t p = 0; p < positions; ++p) channel[p * to.row_stride] = T(padding ? 0.0F : from[p]);
    }
  });
}

#define ELEK_INSTANTIATE(T, suffix, dtype)                      \
  template void to_nchw(const ActivationView<T>&, float*, int); \
  template void from_nchw(const float*, const ActivationView<T>&, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE
// std::add_pointer_t, because clang-tidy reads `T*` in a macro as a multiplication.
#define ELEK_INSTANTIATE(T, suffix, dtype) template void to_nchw(const ActivationView<T>&, std::add_pointer_t<T>, int);
ELEK_NARROW_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
