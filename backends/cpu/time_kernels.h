// SPDX-License-Identifier: Apache-2.0
// Timing the kernels that fit, where they will run. Tests: tests/backends/kernel_times_test.cpp
#pragma once

#include "backends/backend.h"
#include "backends/cpu/kernel_times.h"

namespace elek::backends::cpu {

/// Adds to `times` what is missing there for the model's convolutions. The whole network is run a few times with each kernel in
/// turn, wherever it fits, and every step is timed: a layer's input is then in the caches and its weights are not, as in any
/// run. Costs a session's memory once more while it lasts, and up to four sessions' building and some passes: a second or two
/// for a ResNet-50. A kernel whose session finds no memory (options.memory) is none of the candidates.
void time_kernels(const Model& model, const FusedGraph& fused, const LowerOptions& options, KernelTimes& times);

}  // namespace elek::backends::cpu
