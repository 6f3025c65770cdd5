// SPDX-License-Identifier: Apache-2.0
// Selection: from scores and a target to a PrunePlan, which is data: it says what goes and why, and changes nothing.
// Tests: tests/prune/select_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/graph/model.h"
#include "engine/statistics.h"
#include "prune/groups.h"

namespace elek {

enum class Scope : uint8_t { kLayer, kGlobal };
enum class Compare : uint8_t { kOutput, kLayer };  // weights compete inside an output channel, or in the whole layer

struct ChannelTarget {
  double share = 0;  // of each group's channels (kLayer) or of all (kGlobal), 0 <= share < 1
  Scope scope = Scope::kLayer;
  int64_t round_to = 0;                     // 0 = auto: nearest multiple of 8 in groups of 64 channels and more, exact below
  std::vector<std::string> ignore;          // names of groups or of values in them that stay whole
  std::map<std::string, double> overrides;  // name -> share
};
struct WeightTarget {
  double sparsity = 0;   // share of weights set to zero
  int64_t n = 0, m = 0;  // n:m pattern along input channels instead, where m > 0: n of m stay
  Compare compare = Compare::kOutput;
  std::vector<std::string> ignore;
};

struct GroupCut {
  std::string group;
  int64_t channels = 0;
  std::vector<int64_t> keep;   // strictly increasing
  std::vector<double> scores;  // [channels]
};
struct WeightCut {
  std::string node;           // convolution or linear
  std::vector<uint8_t> keep;  // one a weight, 1 = keep, row-major as the parameter
  int64_t removed = 0;
};
struct PrunePlan {
  std::string criterion, target;   // as History records them
  std::vector<GroupCut> groups;    // only groups that lose channels
  std::vector<WeightCut> weights;  // only layers that lose weights
  [[nodiscard]] bool removes_nothing() const noexcept { return groups.empty() && weights.empty(); }
};

/// Lowest scores first, ties by index; never empties a group; keeps equal counts a convolution group. UsageError for a share
/// out of range or an unknown name.
[[nodiscard]] PrunePlan select_channels(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                        const Graph& graph, const ChannelTarget& target);
/// |w| * norm: weights of every layer with tap norms; the classifier stays whole unless it was probed.
[[nodiscard]] PrunePlan select_weights(const Model& model, const Statistics& statistics, const WeightTarget& target);

}  // namespace elek
