// SPDX-License-Identifier: Apache-2.0
// The order of steps that needs least memory. Every legal order is looked at, though none one by one: what is alive after some
// steps depends on which they were and not on their order, so the best way to each such set is kept and the others dropped
// (a shortest path whose length is its highest point). Residual networks have few such sets; where there are more than
// kMostSets the program's own order stays.
// A residual sum belongs to whichever of its two producers runs last, so that both orders of a block's projection and its main
// path are among those tried. Pure integers, as plan(). Tests: tests/unit/order_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include <string>
#include <vector>

#include "plan/program.h"

namespace elek {

struct StepOrder {
  /// The steps' nodes in execution order, for fuse(); empty where the program's own order is as good.
  std::vector<std::string> nodes;
  size_t bound_bytes = 0;      // lower bound of the best order, workspace included
  size_t own_bound_bytes = 0;  // the same of the program's own order
  double orders = 1;           // legal orders that were compared
};
inline constexpr size_t kMostSets = 5000;

/// Takes bytes and workspaces as the program has them; another order may make the backend choose others, so that the result is
/// to be lowered and compared again. Steps that are observed keep their sums. A program whose values all last to the end
/// (keep_values) has nothing to choose. Cost: under a millisecond for a ResNet-50.
[[nodiscard]] StepOrder search_order(const Program& program);

}  // namespace elek
