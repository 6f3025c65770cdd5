// SPDX-License-Identifier: Apache-2.0
// Which sums a kernel's epilogue takes. It is a template parameter of the kernels, so that runs that watch nothing pay nothing.
// Tests: those of the kernels
#pragma once

#include <cstdint>

#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// No sums; only the default set (kPerSample is computed from it); or all sums of y and z.
enum class Observe : uint8_t { kNothing, kActivity, kAll };

/// The mode that takes these sets of sums.
inline Observe observe_for(uint32_t sets) {
  return (sets & ~uint32_t{kActivity | kPerSample}) == 0 ? Observe::kActivity : Observe::kAll;
}

}  // namespace elek::kernels::cpu
