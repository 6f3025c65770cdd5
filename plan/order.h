// SPDX-License-Identifier: Apache-2.0
// The order of steps that needs the least memory. What is alive after some steps depends on which steps are done, not on their
// order. So the search keeps the best path to each set of finished steps and drops the others. It covers every legal order,
// without trying them one by one: it finds a shortest path, where the length of a path is its highest point. Residual networks
// have few such sets. If there are more than kMostSets, the program's own order stays.
// A residual sum belongs to the producer that runs last. So both orders of a block's projection and its main path are covered.
// Pure integers, like plan().
// Tests: tests/unit/order_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include <string>
#include <vector>

#include "plan/program.h"

namespace elek {

struct StepOrder {
  /// The nodes of the steps in execution order, for fuse(); empty if the program's own order is as good.
  std::vector<std::string> nodes;
  size_t bound_bytes = 0;      // lower bound of the best order, workspace included
  size_t own_bound_bytes = 0;  // the same for the program's own order
  double orders = 1;           // legal orders that were compared
};
inline constexpr size_t kMostSets = 5000;

/// Uses the bytes and workspaces of the program. In another order the backend may choose other kernels, so lower the result and
/// compare again. Watched steps keep their sums. A program whose values all live to the end (keep_values) has no choice. Cost:
/// less than a millisecond for a ResNet-50.
[[nodiscard]] StepOrder search_order(const Program& program);

}  // namespace elek
