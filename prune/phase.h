// SPDX-License-Identifier: Apache-2.0
// in_phase(): reports the begin and end of a phase to a CutObserver. Internal to prune/. Tests: tests/prune/recipe_test.cpp
#pragma once

#include <utility>

#include "core/runtime.h"
#include "elek/prune.h"

namespace elek {

/// Returns the result of `work`. If it throws, the end is not reported. Throws Interrupted if the user has asked to stop.
template <typename Work>
auto in_phase(CutObserver& observer, CutPhase phase, Work&& work) {
  throw_if_interrupted();
  observer.begin(phase);
  auto result = std::forward<Work>(work)();
  observer.end(phase);
  return result;
}

}  // namespace elek
