// SPDX-License-Identifier: Apache-2.0
// ELEK_HOST_DEVICE marks a function that CUDA kernels also call. It is empty for host compilers; CUDA compilers make both
// versions. Such a function is plain arithmetic: no exceptions, no allocation, no calls of the standard library that the device
// lacks. Tests: those of such functions (tests/unit/sums_test.cpp, tests/kernels/batch_moments_test.cpp).
#pragma once

#ifdef __CUDACC__
#define ELEK_HOST_DEVICE __host__ __device__
#else
#define ELEK_HOST_DEVICE
#endif
