// SPDX-License-Identifier: Apache-2.0
// Memory growth of a process over many calls, for the long-run tests.
#pragma once

#include <cstdint>

#include "core/memory/process_memory.h"

namespace elek::test {

/// Resident bytes gained by `rounds` calls, after as many calls as it takes for buffers and threads to exist.
template <typename Act>
int64_t growth(int warm_up, int rounds, const Act& act) {
  for (int i = 0; i < warm_up; ++i) act();
  const auto before = static_cast<int64_t>(resident_bytes());
  for (int i = 0; i < rounds; ++i) act();
  return static_cast<int64_t>(resident_bytes()) - before;
}

}  // namespace elek::test
