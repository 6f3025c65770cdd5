// SPDX-License-Identifier: Apache-2.0
// What the epilogue of a layer does to a value before it is stored, on every device.
// Tests: tests/kernels/epilogue_test.cpp, tests/gpu/kernels/epilogue_test.cpp
#pragma once

#include <cstdint>

namespace elek::kernels {

/// kRelu: v < 0 ? 0 : v, so that NaN stays NaN.
enum class Activation : uint8_t { kNone, kRelu };

}  // namespace elek::kernels
