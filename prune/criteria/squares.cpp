// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/score_test.cpp
#include "prune/criteria/squares.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "graph/passes.h"
#include "prune/score.h"

namespace elek::criteria {

Scores SquaresCriterion::scores(const Model& model, const std::vector<Group>& groups, const Evidence& evidence,
                                uint64_t /*seed*/) const {
  Scores all(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) continue;
    Squares squares(at(groups[g].channels), 0.0);
    add(model, groups[g], evidence.statistics, squares);
    for (double& square : squares) square = std::copysign(std::sqrt(std::fabs(square)), square);
    all[g] = std::move(squares);
  }
  return all;
}

double variance(const ValueSums& sums, size_t c) {
  const double n = static_cast<double>(sums.count);
  const double mean = sums.sum[c] / n;
  return std::max(0.0, sums.sum_sq[c] / n - mean * mean);  // rounding may make a constant channel slightly negative
}

const ValueSums& sums_of(const Model& model, const Statistics& statistics, ValueId value) {
  return statistics.values.at(model.graph.node(watched_value(model.graph, value)).name);
}

std::map<std::string, std::string> stored_values(const Graph& graph) {
  std::map<std::string, std::string> stored;
  for (const FusedNode& step : fuse(graph).steps) {
    stored[step.node.name] = graph.node(watched_value(graph, step.output)).name;
  }
  return stored;
}

void add_columns(const std::vector<double>& columns, const std::vector<int64_t>& channels, Squares& squares) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (channels.at(i) >= 0) squares[at(channels[i])] += columns[i];
  }
}

}  // namespace elek::criteria
