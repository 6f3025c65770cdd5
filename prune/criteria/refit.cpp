// SPDX-License-Identifier: Apache-2.0
// refit: the error that remains if a channel is removed and all its readers are refitted (prune/refit_costs.h). The scores are
// costs in one unit for all groups, so all groups can share a budget of MACs.
// Tests: tests/prune/refit_costs_test.cpp
#include "prune/criteria/list.h"
#include "prune/refit_costs.h"

namespace elek::criteria {
namespace {

class RefitCriterion final : public Criterion {
 public:
  using Criterion::Criterion;

  [[nodiscard]] Scores scores(const Model& /*model*/, const std::vector<Group>& groups, const Evidence& evidence,
                              uint64_t /*seed*/) const override {
    return evidence.costs_of(*this, groups);
  }

  [[nodiscard]] Forecast forecast(const Graph& graph, const std::vector<Group>& groups, int64_t samples,
                                  const MeasureOptions& how) const override {
    RefitCostsPlan plan = plan_refit_costs(graph, groups, thread_count(how.session.threads), samples, how.checkpoint_bytes);
    return {name(), plan.layers, plan.moments_bytes, "", std::move(plan.kept), plan.dense_passes};
  }

  [[nodiscard]] Scores measure(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                               const MeasureOptions& how, const Progress& progress) const override {
    return refit_costs(model, groups, images, how.session, progress, {kRidge, how.checkpoint_bytes});
  }
};

}  // namespace

const Criterion& refit() {
  static const RefitCriterion criterion({.name = "refit",
                                         .about = "error that is left after the repair",
                                         .family = "refit",
                                         .needs = Criterion::Needs::kImages,
                                         .scope = Scope::kGlobal,
                                         .costs_compare = true,
                                         .raw_convolutions = false});
  return criterion;
}

}  // namespace elek::criteria
