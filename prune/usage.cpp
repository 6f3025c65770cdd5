// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/spend_test.cpp
#include "prune/usage.h"

#include <set>
#include <utility>

#include "core/at.h"
#include "prune/groups.h"

namespace elek {
namespace {

constexpr size_t kNoGroup = static_cast<size_t>(-1);

}  // namespace

std::vector<Usage::Term> Usage::terms_of(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit) {
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  const auto parts = [&](ValueId value) {
    std::vector<Part> list;
    const auto channels = static_cast<double>(graph.node(value).shape.channels);
    for (const ValueSegment& each : segments[at(value)])
      list.push_back({each.group, static_cast<double>(each.count) / channels});
    return list;
  };
  std::vector<Term> terms;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const auto id = static_cast<ValueId>(i);
    const auto add = [&](int64_t amount, bool reads_all) {  // reads_all: each output is made from all inputs
      if (amount == 0) return;
      terms.push_back({static_cast<double>(amount), reads_all ? parts(node.inputs.at(0)) : std::vector<Part>{}, parts(id)});
    };
    const bool mixes = !is_depthwise(graph, id);
    if (unit == BudgetUnit::kMacs) {
      add(macs(graph, node), mixes);
      continue;
    }
    for (const OpParameter& parameter : op_parameters(graph, node)) {
      if (is_trained(parameter.role)) add(parameter.shape.elements(), mixes && parameter.shape.rank() > 1);
    }
  }
  return terms;
}

Usage::Usage(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit, std::vector<int64_t> kept)
    : terms_(terms_of(groups, graph, unit)), touching_(groups.size()), kept_(std::move(kept)) {
  channels_.reserve(groups.size());
  for (const Group& group : groups) channels_.push_back(group.channels);
  for (size_t t = 0; t < terms_.size(); ++t) {
    std::set<size_t> there;
    for (const std::vector<Part>* parts : {&terms_[t].input, &terms_[t].output}) {
      for (const Part& part : *parts) there.insert(part.group);
    }
    for (const size_t g : there) touching_[g].push_back(t);
  }
  for (const Term& term : terms_) total_ += amount(term, kNoGroup, 0);
}

double Usage::share_of(size_t g, size_t changed, int64_t kept) const {
  return static_cast<double>(g == changed ? kept : kept_[g]) / static_cast<double>(channels_[g]);
}

double Usage::share(const std::vector<Part>& parts, size_t changed, int64_t kept) const {
  double sum = 0;
  for (const Part& part : parts) sum += part.share * share_of(part.group, changed, kept);
  return sum;
}

double Usage::amount(const Term& term, size_t changed, int64_t kept) const {
  const double made = term.amount * share(term.output, changed, kept);
  return term.input.empty() ? made : made * share(term.input, changed, kept);
}

double Usage::saved(size_t g, int64_t kept) const {
  double less = 0;
  for (const size_t t : touching_[g]) less += amount(terms_[t], kNoGroup, 0) - amount(terms_[t], g, kept);
  return less;
}

void Usage::set(size_t g, int64_t kept) {
  kept_[g] = kept;
  total_ = 0;
  for (const Term& term : terms_) total_ += amount(term, kNoGroup, 0);
}

}  // namespace elek
