// SPDX-License-Identifier: Apache-2.0
// May a plan write its result over its residual? cuDNN does not promise it (its graphs may not even say so: an output that is
// an input is refused as a cycle), and nearly every kernel can: it reads an element of the residual just before it writes that
// one. So each plan is tried on the device, several times, against itself with a residual apart. Tests:
// tests/gpu/backend_conv_test.cpp.
#pragma once

#include <string>

#include "backends/cuda/cudnn/plan_store.h"

namespace elek::backends::cuda {

/// Why the plan must not write over its residual; empty if it may: every channel's sums of the stored values are bit for bit
/// the same both ways. (An element that was read after it was written would count its sum twice.) Waits for the stream.
[[nodiscard]] std::string why_not_in_place(const ConvPlan& plan, const Target& target);

}  // namespace elek::backends::cuda
