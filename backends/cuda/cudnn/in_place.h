// SPDX-License-Identifier: Apache-2.0
// May a plan write its result over its residual? cuDNN does not promise it. Its graphs cannot even express it: an output that
// is also an input is refused as a cycle. Nearly every kernel can do it, because it reads an element of the residual just
// before it writes that element. So each plan is tried on the device, several times, and compared with itself with the residual
// in its own memory.
// Tests: tests/gpu/backend_conv_test.cpp.
#pragma once

#include <string>

#include "backends/cuda/cudnn/plan_store.h"

namespace elek::backends::cuda {

/// The reason why the plan must not write over its residual; empty if it may. It may if every channel's sums of the stored
/// values are bit for bit the same both ways. (An element that is read after it was written would count its sum twice.) Waits
/// for the stream.
[[nodiscard]] std::string why_not_in_place(const ConvPlan& plan, const Target& target);

}  // namespace elek::backends::cuda
