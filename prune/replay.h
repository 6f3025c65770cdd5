// SPDX-License-Identifier: Apache-2.0
// Replaying a cut: what the history of a cut network says was kept, as a plan for another checkpoint of the same network.
// Tests: tests/prune/replay_test.cpp
#pragma once

#include "elek/graph.h"
#include "prune/select.h"

namespace elek {

/// The plan that makes of `model`'s graph the graph of `cut`: the kept channels of every channel cut in the history of `cut`,
/// composed, or the zeros in its weights where its history is one weight cut. Criterion, scores and target are those recorded.
/// `where` names the cut network's file in errors; `resource` lends the memory of one cut. InputError if the history holds no
/// cut, mixes both kinds or does not add up, if a group is not in `model` or has another number of channels there, or if the
/// graphs would differ after the cut.
[[nodiscard]] PrunePlan replay_plan(const Model& cut, const Model& model, const std::string& where, MemoryResource& resource);

}  // namespace elek
