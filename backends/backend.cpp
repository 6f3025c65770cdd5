// SPDX-License-Identifier: Apache-2.0
// Which backend serves which device.
// Tests: tests/golden/session_test.cpp
#include "backends/backend.h"

#include "core/error.h"

namespace elek {

std::span<const float> Executable::run_values(std::span<const float>, int64_t) {
  throw ContractError("this backend starts from pixels only");
}

std::unique_ptr<Backend> make_backend(const Device& device) {
  return device.kind == DeviceKind::kCuda ? make_cuda_backend(device) : make_cpu_backend(device);
}

MemoryResource& device_memory(const Device& device) {
  return device.kind == DeviceKind::kCuda ? cuda_device_memory(device) : host_resource();
}

StreamOrder& device_stream_order(const Device& device) {
  return device.kind == DeviceKind::kCuda ? cuda_stream_order(device) : host_order();
}

bool is_built_in(DeviceKind kind) noexcept { return kind == DeviceKind::kCuda ? cuda_is_built_in() : cpu_is_built_in(); }

std::string why_unavailable(const Device& device) {
  try {
    (void)make_backend(device);
    return {};
  } catch (const DeviceError& error) {
    return error.what();
  }
}

}  // namespace elek
