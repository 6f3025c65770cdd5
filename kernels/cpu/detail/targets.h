// SPDX-License-Identifier: Apache-2.0
// The instruction sets that the kernels are compiled for. Include it before Highway. The program chooses one when it starts:
// AVX3 (AVX-512), AVX2, SSE4 and the scalar fallback on x86, NEON on ARM. SSSE3 and AVX3_DL cost compile time and add nothing
// for f32. Scalable vectors (SVE, RVV) cannot be members of structs, as the kernels need.
#pragma once

#include <hwy/detect_compiler_arch.h>

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif
