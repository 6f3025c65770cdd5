// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/spend_test.cpp
#include "prune/usage.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"

namespace elek {
namespace {

constexpr size_t kNoGroup = static_cast<size_t>(-1);

double largest(const std::vector<double>& moments) {
  return moments.empty() ? 0.0 : *std::max_element(moments.begin(), moments.end());
}

}  // namespace

std::vector<UsagePart> parts_of(const Graph& graph, const std::vector<std::vector<ValueSegment>>& segments, ValueId value) {
  std::vector<UsagePart> list;
  const auto channels = static_cast<double>(graph.node(value).shape.channels);
  for (const ValueSegment& each : segments[at(value)]) list.push_back({each.group, static_cast<double>(each.count) / channels});
  return list;
}

UsageTerms exact_terms(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit) {
  ELEK_CHECK(unit == BudgetUnit::kMacs || unit == BudgetUnit::kParameters,
             std::string("a budget of ") + name_of(unit) + " needs terms: the graph does not show what layers use");
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  UsageTerms terms;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const auto id = static_cast<ValueId>(i);
    const auto add = [&](int64_t amount, bool reads_all) {  // reads_all: each output is made from all inputs
      if (amount == 0) return;
      terms.sum.push_back({static_cast<double>(amount),
                           reads_all ? parts_of(graph, segments, node.inputs.at(0)) : std::vector<UsagePart>{},
                           parts_of(graph, segments, id)});
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

Usage::Usage(const std::vector<Group>& groups, const Graph& graph, const Budget& budget, std::vector<int64_t> kept)
    : kept_(std::move(kept)) {
  auto fixed = std::make_shared<Fixed>();
  fixed->channels.reserve(groups.size());
  for (const Group& group : groups) fixed->channels.push_back(group.channels);
  const UsageTerms terms = budget.terms ? *budget.terms : exact_terms(groups, graph, budget.unit);
  for (const UsageTerm& term : terms.sum) fixed->terms.push_back({term, kAlways});
  for (size_t m = 0; m < terms.moments.size(); ++m) {
    for (const UsageTerm& term : terms.moments[m]) fixed->terms.push_back({term, m});
  }
  fixed->moments = terms.moments.size();
  fixed->touching.resize(groups.size());
  for (size_t t = 0; t < fixed->terms.size(); ++t) {
    std::set<size_t> there;
    for (const std::vector<UsagePart>* parts : {&fixed->terms[t].what.input, &fixed->terms[t].what.output}) {
      for (const UsagePart& part : *parts) there.insert(part.group);
    }
    for (const size_t g : there) fixed->touching[g].push_back(t);
  }
  fixed_ = std::move(fixed);
  add_up();
}

double Usage::share(const std::vector<UsagePart>& parts, size_t changed, int64_t kept) const {
  double sum = 0;
  for (const UsagePart& part : parts) {
    const int64_t now = part.group == changed ? kept : kept_[part.group];
    sum += part.share * static_cast<double>(now) / static_cast<double>(fixed_->channels[part.group]);
  }
  return sum;
}

double Usage::amount(const UsageTerm& term, size_t changed, int64_t kept) const {
  const double output = term.output.empty() ? 1.0 : share(term.output, changed, kept);
  const double input = term.input.empty() ? 1.0 : share(term.input, changed, kept);
  return term.amount * (term.curve ? term.curve(input, output) : input * output);
}

double Usage::saved(size_t g, int64_t kept) const {
  double less = 0;
  std::vector<double> moments = moments_;
  for (const size_t t : fixed_->touching[g]) {
    const Term& term = fixed_->terms[t];
    const double by = amount(term.what, kNoGroup, 0) - amount(term.what, g, kept);
    if (term.moment == kAlways) {
      less += by;
    } else {
      moments[term.moment] -= by;
    }
  }
  return less + largest(moments_) - largest(moments);
}

void Usage::set(size_t g, int64_t kept) {
  kept_[g] = kept;
  add_up();
}

void Usage::add_up() {
  sum_ = 0;
  moments_.assign(fixed_->moments, 0.0);
  for (const Term& term : fixed_->terms) {
    double& to = term.moment == kAlways ? sum_ : moments_[term.moment];
    to += amount(term.what, kNoGroup, 0);
  }
  total_ = sum_ + largest(moments_);
}

}  // namespace elek
