// SPDX-License-Identifier: Apache-2.0
// Which backend serves which device.
// Tests: tests/golden/session_test.cpp
#include "engine/backends/backend.h"

namespace elek {

std::unique_ptr<Backend> make_backend(const Device& device) {
  return device.kind == DeviceKind::kCuda ? make_cudnn_backend(device) : make_onednn_backend(device);
}

}  // namespace elek
