// SPDX-License-Identifier: Apache-2.0
// See runtime.h. Devices, their properties, errors.
#include <cstdio>
#include <string>
#include <utility>

#include "tests/simt/runtime_world.h"

using namespace elek::simt;  // NOLINT: the calls below are the C interface of what is above

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetLastError() {
  const auto lock = one_at_a_time();
  const cudaError_t fault = world().fault;
  return fault != cudaSuccess ? fault : std::exchange(last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorLaunchTimeout:
      return "cudaErrorLaunchTimeout";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaError";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorInvalidConfiguration) return "invalid configuration argument";
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return error != cudaSuccess && error == world().fault ? world().fault_text.c_str() : "an error of the SIMT harness";
}

cudaError_t cudaGetDeviceCount(int* count) {
  const auto lock = one_at_a_time();
  *count = 0;
  if (world().machinery.refusal != cudaSuccess) return record(world().machinery.refusal);
  *count = world().machinery.devices;
  return *count == 0 ? record(cudaErrorNoDevice) : cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  const auto lock = one_at_a_time();
  *device = current_device;
  return world().fault == cudaSuccess ? cudaSuccess : record(world().fault);
}

cudaError_t cudaSetDevice(int device) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  if (device < 0 || device >= world().machinery.devices) return record(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const auto lock = one_at_a_time();
  if (device < 0 || device >= world().machinery.devices) return record(cudaErrorInvalidDevice);
  std::snprintf(properties->name, sizeof(properties->name), "stand-in device");
  properties->totalGlobalMem = world().machinery.memory_bytes;
  properties->major = world().machinery.compute_capability / 10;
  properties->minor = world().machinery.compute_capability % 10;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  const auto lock = one_at_a_time();
  *version = world().machinery.driver_version;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *total_bytes = world().machinery.memory_bytes;
  *free_bytes = *total_bytes - live_bytes(current_device);
  return cudaSuccess;
}
