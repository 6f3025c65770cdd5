// SPDX-License-Identifier: Apache-2.0
// What a network would use of a budget if its groups kept given numbers of channels. Nothing is cut. For MACs and parameters
// the numbers follow from the graph and are exact, which the tests compare with networks that were cut. For the other units
// they are as good as the terms that the budget brings (prune/budget_terms.h). Tests: tests/prune/spend_test.cpp,
// tests/prune/fit_budget_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// The part of a value's channels that is a group's.
struct UsagePart {
  size_t group = 0;
  double share = 1;
};
/// Something of which the uncut network uses `amount`: in proportion to the channels that stay of its output, and of its input
/// unless `input` is empty; or as `curve` says, which gets the shares of the input's and of the output's channels that stay and
/// returns a factor of `amount`.
struct UsageTerm {
  double amount = 0;
  std::vector<UsagePart> input;
  std::vector<UsagePart> output;
  std::function<double(double input, double output)> curve = nullptr;
};
/// The use is the sum of `sum`, and the largest of `moments`, each of which is a sum too: what is alive during one step.
struct UsageTerms {
  std::vector<UsageTerm> sum;
  std::vector<std::vector<UsageTerm>> moments;
};

/// The groups' parts of a value. `segments`: of segments_of_values().
[[nodiscard]] std::vector<UsagePart> parts_of(const Graph& graph, const std::vector<std::vector<ValueSegment>>& segments,
                                              ValueId value);
/// Exact terms for kMacs and kParameters. ContractError for other units.
[[nodiscard]] UsageTerms exact_terms(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit);

/// Holds one kept count per group. A change of one group's count affects only the layers that make or read the group, so asking
/// what a change would save costs few multiplications.
class Usage {
 public:
  /// Uses the budget's terms, if it has some.
  Usage(const std::vector<Group>& groups, const Graph& graph, const Budget& budget, std::vector<int64_t> kept);
  /// With the counts that are set now.
  [[nodiscard]] double total() const noexcept { return total_; }
  /// What less would be used if group g kept `kept` channels; negative if more.
  [[nodiscard]] double saved(size_t g, int64_t kept) const;
  void set(size_t g, int64_t kept);
  [[nodiscard]] const std::vector<int64_t>& kept() const noexcept { return kept_; }

 private:
  static constexpr size_t kAlways = static_cast<size_t>(-1);
  struct Term {
    UsageTerm what;
    size_t moment = kAlways;  // the moment in which it counts
  };
  /// What does not depend on the counts. Shared by copies.
  struct Fixed {
    std::vector<int64_t> channels;  // of each group, uncut
    std::vector<Term> terms;
    std::vector<std::vector<size_t>> touching;  // the terms that depend on each group
    size_t moments = 0;
  };
  [[nodiscard]] double share(const std::vector<UsagePart>& parts, size_t changed, int64_t kept) const;
  /// The term's amount if group `changed` kept `kept` channels.
  [[nodiscard]] double amount(const UsageTerm& term, size_t changed, int64_t kept) const;
  void add_up();

  std::shared_ptr<const Fixed> fixed_;
  std::vector<int64_t> kept_;
  std::vector<double> moments_;  // the sum of each
  double sum_ = 0;               // of what always counts
  double total_ = 0;
};

}  // namespace elek
