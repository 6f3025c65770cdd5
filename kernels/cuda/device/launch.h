// SPDX-License-Identifier: Apache-2.0
// The CUDA syntax that a host compiler does not know, behind two macros, so that the very same .cu files are compiled by g++
// for the SIMT harness (tests/simt): its <cuda_runtime_api.h> defines ELEK_LAUNCH, ELEK_SHARED and ELEK_DEVICE_CHECK before we
// do. Also the one error check that follows every launch. For .cu files only.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"

#ifndef ELEK_LAUNCH
/// kernel<<<grid, block, shared, stream>>>(args…). `kernel` is a function pointer: `auto* const kernel = some_kernel<a, b>;`.
#define ELEK_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
/// An array of `count` elements shared by the block. Uninitialised.
#define ELEK_SHARED(type, name, count) __shared__ type name[count]
/// Checked in the harness, free on the device.
#define ELEK_DEVICE_CHECK(condition)
#endif

namespace elek::kernels::cuda {

/// Throws DeviceError if the launch before it was refused. An asynchronous fault of an earlier kernel may show here first.
inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaPeekAtLastError();
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // clears it, unless it is sticky
  throw DeviceError(std::string(kernel) + ": CUDA says " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) +
                    ") at its launch; if the device is healthy, an earlier kernel failed: run under compute-sanitizer");
}

}  // namespace elek::kernels::cuda
