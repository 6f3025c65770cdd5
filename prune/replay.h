// SPDX-License-Identifier: Apache-2.0
// Replaying a cut: turns a cut network's history into a plan for another checkpoint of the same network.
// Tests: tests/prune/replay_test.cpp
#pragma once

#include "elek/graph.h"
#include "prune/select.h"

namespace elek {

/// The plan that gives `model` the graph of `cut`. It composes the kept channels of all channel cuts in the history of `cut`;
/// if the history is one weight cut, it takes the zeros in the weights. Criterion, scores and target are the recorded ones.
/// `where` names the cut network's file in errors; `resource` gives the memory for one cut. InputError if the history has no
/// cut, has both kinds or contradicts itself, if `model` lacks a group or has another number of channels in it, or if the
/// graphs would differ after the cut.
[[nodiscard]] PrunePlan replay_plan(const Model& cut, const Model& model, const std::string& where, MemoryResource& resource);

}  // namespace elek
