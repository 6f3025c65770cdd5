// SPDX-License-Identifier: Apache-2.0
// Stands in for the CPU backend where it is not built.
#include "backends/backend.h"

namespace elek {

std::unique_ptr<Backend> make_cpu_backend(const Device& device) {
  throw DeviceError("device " + to_string(device) +
                    ": the CPU backend is not built in; configure with -DELEK_CPU=ON where oneDNN (libdnnl-dev) and Highway "
                    "(libhwy-dev) are installed");
}

bool cpu_is_built_in() noexcept { return false; }
bool cpu_has_bf16() noexcept { return false; }

}  // namespace elek
