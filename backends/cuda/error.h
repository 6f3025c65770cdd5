// SPDX-License-Identifier: Apache-2.0
// Turns errors of the CUDA runtime and of cuBLASLt into elek's own, with messages that say what to do. A fault inside a kernel
// is sticky: every later call of the process fails with it. So the message says that only a new process helps.
// Tests: tests/deviceless/device_test.cpp, tests/simt/engine/session_test.cpp (a fault at any point)
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"

namespace elek::backends::cuda {

/// The message for a failed runtime call; a pure function. `what` names what was being done.
[[nodiscard]] std::string explain(cudaError_t status, const std::string& what);
/// Whether the error makes the process's context unusable.
[[nodiscard]] bool is_sticky(cudaError_t status) noexcept;
/// Clears the recorded error and throws DeviceError(explain(…)) with file and line. OutOfMemory is thrown by the memory
/// resources.
[[noreturn]] void throw_cuda(cudaError_t status, const char* call, const char* file, int line);
/// Warns about a failure where nothing may be thrown (destructors). A fault is reported once, however many calls fail after it.
void report_cuda(cudaError_t status, const char* call) noexcept;
/// Throws DeviceError(explain(…)) if the current device has faulted. Waits for the device, so use it only after something
/// failed.
void throw_fault(const char* doing);

/// Runs `work`. If a DeviceError (a library refuses, a launch fails) was caused by a fault, throws the fault's message instead.
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
