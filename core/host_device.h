// SPDX-License-Identifier: Apache-2.0
// ELEK_HOST_DEVICE marks a function that CUDA kernels call too. Host compilers see nothing, nvcc and clang make both versions.
// Such a function is plain arithmetic: no standard library call that the device does not have, no exception, no allocation.
// Tests: through those functions (tests/unit/sums_test.cpp, tests/kernels/moments_test.cpp).
#pragma once

#ifdef __CUDACC__
#define ELEK_HOST_DEVICE __host__ __device__
#else
#define ELEK_HOST_DEVICE
#endif
