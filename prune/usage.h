// SPDX-License-Identifier: Apache-2.0
// What a network would use of a budget (MACs or parameters) if its groups kept given numbers of channels. Nothing is cut: the
// numbers follow from the graph. They are exact, which the tests compare with networks that were cut.
// Tests: tests/prune/spend_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// Holds one kept count per group. A change of one group's count affects only the layers that make or read the group, so asking
/// what a change would save costs few multiplications.
class Usage {
 public:
  Usage(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit, std::vector<int64_t> kept);
  /// With the counts that are set now.
  [[nodiscard]] double total() const noexcept { return total_; }
  /// What less would be used if group g kept `kept` channels; negative if more.
  [[nodiscard]] double saved(size_t g, int64_t kept) const;
  void set(size_t g, int64_t kept);
  [[nodiscard]] const std::vector<int64_t>& kept() const noexcept { return kept_; }

 private:
  /// The part of a value's channels that is a group's.
  struct Part {
    size_t group = 0;
    double share = 1;
  };
  /// Something of which the uncut network uses `amount`: in proportion to the channels that stay of its output, and of its
  /// input unless `input` is empty.
  struct Term {
    double amount = 0;
    std::vector<Part> input;
    std::vector<Part> output;
  };
  static std::vector<Term> terms_of(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit);
  [[nodiscard]] double share_of(size_t g, size_t changed, int64_t kept) const;
  [[nodiscard]] double share(const std::vector<Part>& parts, size_t changed, int64_t kept) const;
  /// The term's amount if group `changed` kept `kept` channels.
  [[nodiscard]] double amount(const Term& term, size_t changed, int64_t kept) const;

  std::vector<int64_t> channels_;  // of each group, uncut
  std::vector<Term> terms_;
  std::vector<std::vector<size_t>> touching_;  // the terms that depend on each group
  std::vector<int64_t> kept_;
  double total_ = 0;
};

}  // namespace elek
