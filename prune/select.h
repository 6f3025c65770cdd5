// SPDX-License-Identifier: Apache-2.0
// Selection: from scores and a target to a PrunePlan, which is data: it says what goes and why, and changes nothing.
// Tests: tests/prune/select_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/statistics.h"
#include "graph/model.h"
#include "prune/groups.h"

namespace elek {

/// kMacs: scores are costs that add up along the order of going (prune/refit_costs.h); as many MACs go as under kLayer, where
/// they cost least.
enum class Scope : uint8_t { kLayer, kGlobal, kMacs };
[[nodiscard]] const char* name_of(Scope scope);    // "layer", "global", "macs": as History records it
enum class Compare : uint8_t { kOutput, kLayer };  // weights compete inside an output channel, or in the whole layer

struct ChannelTarget {
  double share = 0;  // of each group's channels (kLayer) or of all (kGlobal), 0 <= share < 1
  Scope scope = Scope::kLayer;
  int64_t round_to = 0;                          // kept counts: 0 = auto, 1 = exact, k = multiples of k (kept_count())
  std::vector<std::string> ignore = {};          // names of groups or of values in them that stay whole
  std::map<std::string, double> overrides = {};  // name -> share
  std::optional<double> macs = std::nullopt;     // kMacs: MACs an image that may stay; else what equal shares would leave
  /// In place of round_to where set: the count that a group of this graph keeps when it would keep so many (--round-to
  /// measured, prune/staircase.h). Under kMacs it rounds what the budget, reckoned with round_to, has given.
  std::function<int64_t(const Graph&, const Group&, int64_t kept)> round = nullptr;
};
/// MACs an image that `target`'s share of every group would leave, its overrides and ignored groups as they are; counts rounded
/// to round_to.
[[nodiscard]] double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// The least share, in whole thousandths, that leaves no more than `macs` of an image's MACs when every group gives it (the
/// target's own share is not looked at, its overrides and ignored groups are as they are). UsageError where 0.999 leaves more.
[[nodiscard]] double share_for_macs(const std::vector<Group>& groups, const Graph& graph, ChannelTarget target, double macs);

/// How many channels the group keeps when `removed` were to go: by target.round where set, else kept_count().
[[nodiscard]] int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target);

/// The target as History records it: "channels=0.3 scope=layer round-to=auto …". (Files made before 2026-12 say scope=global
/// where the scope was kMacs. Nothing reads the text back: a replay goes by the channels kept.)
[[nodiscard]] std::string target_text(const ChannelTarget& target);

/// How many channels a group keeps when `removed` = round(s * C) were to go: the multiple of `step` nearest to C - removed,
/// ties up, at least one step, at most C. step = lcm(multiple, conv_groups); multiple = round_to, or for auto (0) 8 in groups
/// of 64 channels and more, 1 below (and only `conv_groups` where their lcm would keep the group whole). Nothing removed stays
/// so.
[[nodiscard]] int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to);

/// Channels kept of each group under Scope::kMacs, from `kept` (what each may keep at most: all of them in the pool, its own
/// count elsewhere): step by step the group goes down whose next steps save most MACs for their cost, until no more than `macs`
/// are left or no pooled group can give (one step always stays). costs[g] as refit_costs(); a step is what kept_count() rounds
/// to.
[[nodiscard]] std::vector<int64_t> kept_by_cost(const std::vector<Group>& groups, const std::vector<std::vector<double>>& costs,
                                                const Graph& graph, const std::vector<bool>& pooled, std::vector<int64_t> kept,
                                                int64_t round_to, double macs);
/// MACs of an image with so many channels kept of each group.
[[nodiscard]] double macs_with(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& kept);
/// What kept counts of a group are multiples of, as kept_count() says.
[[nodiscard]] int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to);

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

/// Lowest scores first, ties by index; never empties a group; keeps equal counts a convolution group. The plan's criterion is
/// left for the caller, who scored. kGlobal: each group's scores are divided by their mean, then the lowest round(s * total) of
/// all channels go, whatever their group, as long as it keeps one; counts are then rounded as in kLayer. Groups with an
/// override keep their own share and are not in the pool. UsageError for a share out of range, or a name that is unknown, asked
/// for twice, or (in an override) of a group that cannot be cut. kMacs: see kept_by_cost().
[[nodiscard]] PrunePlan select_channels(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                        const Graph& graph, const ChannelTarget& target);

/// |w| * norm: weights of every layer with tap norms; the classifier stays whole unless it was probed. kOutput removes
/// round(s * columns) of each output's weights, kLayer round(s * weights) of the layer's, lowest first, ties by index, and each
/// leaves at least one (a row, a layer). n:m keeps the n highest of each m consecutive input channels of one output and tap;
/// channels left over beyond the last whole m stay. UsageError for a target out of range or an unknown name, InputError for
/// statistics of another model, without tap norms, or not finite.
[[nodiscard]] PrunePlan select_weights(const Model& model, const Statistics& statistics, const WeightTarget& target);

/// A share as History and messages spell it: the shortest decimal that reads back as the same number ("0.3").
[[nodiscard]] std::string share_text(double share);

}  // namespace elek
