// SPDX-License-Identifier: Apache-2.0
// Macros for the CUDA syntax that a host compiler does not know, so that g++ can compile the same .cu files for the SIMT
// harness (tests/simt). The harness's <cuda_runtime_api.h> defines ELEK_LAUNCH, ELEK_SHARED and ELEK_DEVICE_CHECK first. Also
// the error check that follows every launch. Only for .cu files.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"

#ifndef ELEK_LAUNCH
/// kernel<<<grid, block, shared, stream>>>(args…). `kernel` is a function pointer: `auto* const kernel = some_kernel<a, b>;`.
#define ELEK_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
/// An array of `count` elements shared by the block. Uninitialised.
#define ELEK_SHARED(type, name, count) __shared__ type name[count]
/// Checked in the harness; no code on the device.
#define ELEK_DEVICE_CHECK(condition)
#endif

namespace elek::kernels::cuda {

/// Throws DeviceError if the last launch was refused. An asynchronous error of an earlier kernel may also be reported here.
inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaPeekAtLastError();
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // clears it, unless it is sticky
  throw DeviceError(std::string(kernel) + ": CUDA says " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) +
                    ") at its launch; if the device is healthy, an earlier kernel failed: run under compute-sanitizer");
}

}  // namespace elek::kernels::cuda
