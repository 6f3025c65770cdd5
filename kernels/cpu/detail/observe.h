// SPDX-License-Identifier: Apache-2.0
// What a kernel's epilogue sums of each value: a template parameter of the kernels, so that unobserved runs pay nothing.
// Tests: through the kernels
#pragma once

#include <cstdint>

#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// Nothing, the default set alone (kPerSample is made of its sums), or every sum of y and z.
enum class Observe : uint8_t { kNothing, kActivity, kAll };

/// What takes these sets.
inline Observe observe_for(uint32_t sets) {
  return (sets & ~uint32_t{kActivity | kPerSample}) == 0 ? Observe::kActivity : Observe::kAll;
}

}  // namespace elek::kernels::cpu
