// SPDX-License-Identifier: Apache-2.0
// Stands in for the CUDA backend where it is not built.
// Tests: tests/golden/session_test.cpp
#include "backends/backend.h"
#include "core/hint.h"

namespace elek {
namespace {

[[noreturn]] void not_built_in(const Device& device) {
  throw Hinted<DeviceError>(
      Hint::kUseCpu,
      "device " + to_string(device) +
          ": the CUDA backend is not built in; configure with -DELEK_CUDA=ON where a CUDA compiler and cuDNN are "
          "installed");
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const Device& device) { not_built_in(device); }

MemoryResource& cuda_device_memory(const Device& device) { not_built_in(device); }

StreamOrder& cuda_stream_order(const Device& device) { not_built_in(device); }

bool cuda_is_built_in() noexcept { return false; }

}  // namespace elek
