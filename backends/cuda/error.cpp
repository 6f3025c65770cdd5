// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/error.h"

#include <atomic>

#include "core/runtime.h"

namespace elek::backends::cuda {

bool is_sticky(cudaError_t status) noexcept {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

std::string explain(cudaError_t status, const std::string& what) {
  std::string text = what + ": " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
  if (is_sticky(status)) {
    return text +
           "; the fault stays with this process: every later call to the GPU fails too. Run again in a new process, and if it "
           "comes back, under compute-sanitizer";
  }
  switch (status) {
    case cudaErrorMemoryAllocation:
      return text + "; the device is full: use a smaller batch, or free what else runs there (nvidia-smi)";
    case cudaErrorInsufficientDriver:
      return text + "; the NVIDIA driver is missing or older than this build's CUDA " + std::to_string(CUDART_VERSION / 1000) +
             "." + std::to_string(CUDART_VERSION / 10 % 100) + ": install a newer driver, or run on the CPU";
    case cudaErrorNoDevice:
      return text + "; no NVIDIA GPU is visible (nvidia-smi, CUDA_VISIBLE_DEVICES): run on the CPU";
    case cudaErrorInvalidDevice:
      return text + "; choose one of the devices that nvidia-smi lists";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return text + "; this build has no kernels for that GPU: configure with -DCMAKE_CUDA_ARCHITECTURES of it";
    case cudaErrorDevicesUnavailable:
      return text + "; another process holds the device exclusively";
    default:
      return text;
  }
}

void throw_cuda(cudaError_t status, const char* call, const char* file, int line) {
  (void)cudaGetLastError();  // the recorded error is now ours; a sticky error cannot be cleared
  throw DeviceError(explain(status, std::string(call) + " at " + file + ":" + std::to_string(line)));
}

void report_cuda(cudaError_t status, const char* call) noexcept {
  if (status == cudaSuccess || status == cudaErrorCudartUnloading) return;
  (void)cudaGetLastError();
  static std::atomic<bool> told{false};
  if (is_sticky(status) && told.exchange(true)) return;
  try {
    warn(explain(status, call));
  } catch (...) {  // no memory for the message: nothing left to do in a destructor
  }
}

void throw_fault(const char* doing) {
  const cudaError_t status = cudaDeviceSynchronize();
  if (is_sticky(status)) throw DeviceError(explain(status, doing));
}

}  // namespace elek::backends::cuda
