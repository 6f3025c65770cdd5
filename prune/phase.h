// SPDX-License-Identifier: Apache-2.0
// in_phase(): tells an observer that a phase begins and ends. Internal to prune/. Tests: tests/prune/recipe_test.cpp
#pragma once

#include <utility>

#include "core/runtime.h"
#include "elek/prune.h"

namespace elek {

/// The work's result. An exception leaves the phase without its end; Interrupted where the user has asked to stop.
template <typename Work>
auto in_phase(CutObserver& observer, CutPhase phase, Work&& work) {
  throw_if_interrupted();
  observer.begin(phase);
  auto result = std::forward<Work>(work)();
  observer.end(phase);
  return result;
}

}  // namespace elek
