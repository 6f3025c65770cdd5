// SPDX-License-Identifier: Apache-2.0
// Replaces the CUDA backend in a build without it. The entry exists; make(), memory() and stream_order() throw and say what to
// configure.
// Tests: tests/golden/session_test.cpp, tests/cli/usage_test.cpp
#include "backends/backend.h"
#include "core/hint.h"

namespace elek::backends::cuda {
namespace {

[[noreturn]] void not_built_in(const Device& device) {
  throw Hinted<DeviceError>(
      Hint::kUseCpu,
      "device " + to_string(device) +
          ": the CUDA backend is not built in; configure with -DELEK_CUDA=ON where a CUDA compiler and cuDNN are "
          "installed");
}

}  // namespace

BackendEntry entry() noexcept {
  BackendEntry made;
  made.kind = DeviceKind::kCuda;
  made.supports = [](Precision) { return Support{}; };  // make() says that the backend is missing
  made.make = [](const Device& device) -> std::unique_ptr<Backend> { not_built_in(device); };
  made.memory = [](const Device& device) -> MemoryResource& { not_built_in(device); };
  made.stream_order = [](const Device& device) -> StreamOrder& { not_built_in(device); };
  return made;
}

}  // namespace elek::backends::cuda
