// SPDX-License-Identifier: Apache-2.0
// The registry of criteria, and the default behaviour of a criterion. Tests: tests/prune/criterion_test.cpp
#include "core/error.h"
#include "elek/prune.h"
#include "prune/criteria/list.h"

namespace elek {

Scope Criterion::scope_for(std::optional<Scope> asked) const noexcept {
  const Scope scope = asked.value_or(traits_.scope);
  return scope == Scope::kGlobal && traits_.costs_compare ? Scope::kMacs : scope;
}

const Scores& Evidence::costs_of(const Criterion& criterion, const std::vector<Group>& groups) const {
  const auto found = costs.find(criterion.name());
  const size_t count = found == costs.end() ? 0 : found->second.size();
  ELEK_CHECK(count == groups.size() && found != costs.end(), "the criterion " + criterion.name() + " has costs of " +
                                                                 std::to_string(count) + " groups, expected " +
                                                                 std::to_string(groups.size()) + "; measure() returns them");
  return found->second;
}

void Criterion::watch(const Graph& /*graph*/, const Group& /*group*/, Probes& /*probes*/) const {}

Forecast Criterion::forecast(const Graph& /*graph*/, const std::vector<Group>& /*groups*/, int64_t /*samples*/,
                             const MeasureOptions& /*how*/) const {
  throw ContractError("the criterion " + name() + " does not use images");
}

Scores Criterion::measure(const Model& /*model*/, const std::vector<Group>& /*groups*/, BatchSource& /*images*/,
                          const MeasureOptions& /*how*/, const Progress& /*progress*/) const {
  throw ContractError("the criterion " + name() + " does not use images");
}

const std::vector<const Criterion*>& all_criteria() {
#define ELEK_ADDRESS(maker) &criteria::maker(),
  static const std::vector<const Criterion*> all{ELEK_CRITERIA(ELEK_ADDRESS)};
#undef ELEK_ADDRESS
  return all;
}

const Criterion& find_criterion(const std::string& name) {
  std::string names;
  for (const Criterion* each : all_criteria()) {
    if (each->name() == name) return *each;
    names += (names.empty() ? "" : ", ") + each->name();
  }
  throw UsageError("unknown criterion '" + name + "'; expected one of " + names);
}

const Criterion& default_criterion() { return criteria::refit(); }

}  // namespace elek
