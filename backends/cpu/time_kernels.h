// SPDX-License-Identifier: Apache-2.0
// Times the kernels that fit, in the network in which they will run. Tests: tests/backends/kernel_times_test.cpp
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel_times.h"

namespace elek::backends::cpu {

/// Adds to `times` what is missing for the model's convolutions. Runs the whole network a few times with each kernel in turn,
/// wherever it fits, and times every step. So a layer's input is in the caches and its weights are not, as in any run.
/// Meanwhile it holds a session's memory once more. It builds up to four sessions and runs some passes: a second or two for a
/// ResNet-50. A kernel whose session does not fit in memory (options.memory) is no candidate.
void time_kernels(const Model& model, const FusedGraph& fused, const LowerOptions& options, KernelTimes& times);

}  // namespace elek::backends::cpu
