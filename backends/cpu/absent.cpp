// SPDX-License-Identifier: Apache-2.0
// Replaces the CPU backend in a build without it. The entry exists; make() throws and says what to configure.
// Tests: tests/deviceless/left_out.cmake
#include "backends/backend.h"
#include "core/error.h"

namespace elek::backends::cpu {
namespace {

std::unique_ptr<Backend> not_built_in(const Device& device) {
  throw DeviceError("device " + to_string(device) +
                    ": the CPU backend is not built in; configure with -DELEK_CPU=ON, which needs Highway (libhwy-dev) and, "
                    "unless ELEK_ONEDNN=OFF, oneDNN (libdnnl-dev)");
}

}  // namespace

BackendEntry entry() noexcept {
  BackendEntry made;
  made.kind = DeviceKind::kCpu;
  made.supports = [](Precision) { return Support{}; };  // make() says that the backend is missing
  made.make = not_built_in;
  made.memory = [](const Device&) -> MemoryResource& { return host_resource(); };
  made.stream_order = [](const Device&) -> StreamOrder& { return host_order(); };
  return made;
}

}  // namespace elek::backends::cpu
