// SPDX-License-Identifier: Apache-2.0
// Errors of the CUDA runtime and of cuBLASLt as elek's own, in words that say what to do. A fault inside a kernel is sticky:
// every later call of the process fails with it, so the message says that only a new process helps. Tests:
// tests/deviceless/device_test.cpp, tests/simt/engine/session_test.cpp (a fault at any point)
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"

namespace elek::backends::cuda {

/// The words for a failed runtime call; pure. `what` names what was being done.
[[nodiscard]] std::string explain(cudaError_t status, const std::string& what);
/// Whether the error makes the process's context unusable.
[[nodiscard]] bool is_sticky(cudaError_t status) noexcept;
/// Clears the recorded error and throws DeviceError(explain(…)) with the place; OutOfMemory is the memory resources' own.
[[noreturn]] void throw_cuda(cudaError_t status, const char* call, const char* file, int line);
/// Reports a failure where nothing may be thrown (destructors): a warning. One for a fault, however many calls it then fails.
void report_cuda(cudaError_t status, const char* call) noexcept;
/// Throws what explain() says if the current device has faulted. Waits for the device: for where something has failed already.
void throw_fault(const char* doing);

/// Runs `work`. A DeviceError that a fault is behind (a library refuses, a launch fails) is thrown again in the fault's words.
template <typename Work>
auto naming_faults(const char* doing, Work&& work) {
  try {
    return work();
  } catch (const DeviceError&) {
    throw_fault(doing);
    throw;
  }
}

}  // namespace elek::backends::cuda

#define ELEK_CUDA_CALL(call)                                                                                      \
  do {                                                                                                            \
    const cudaError_t elek_status_ = (call);                                                                      \
    if (elek_status_ != cudaSuccess) ::elek::backends::cuda::throw_cuda(elek_status_, #call, __FILE__, __LINE__); \
  } while (false)
