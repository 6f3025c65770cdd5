// SPDX-License-Identifier: Apache-2.0
// random: the baseline for every other criterion. Each group has its own generator, seeded by its name, so a group's scores do
// not depend on the other groups. Tests: tests/prune/score_test.cpp
#include "core/at.h"
#include "core/runtime.h"
#include "prune/criteria/list.h"

namespace elek::criteria {
namespace {

class RandomDraw final : public Criterion {
 public:
  using Criterion::Criterion;

  [[nodiscard]] Scores scores(const Model& /*model*/, const std::vector<Group>& groups, const Evidence& /*evidence*/,
                              uint64_t seed) const override {
    Scores all(groups.size());
    for (size_t g = 0; g < groups.size(); ++g) {
      const Group& group = groups[g];
      if (!group.prunable) continue;
      Random random(hash_bytes(group.name.data(), group.name.size(), kHashSeed ^ seed));
      all[g].resize(at(group.channels));
      for (double& score : all[g]) score = random.uniform();
    }
    return all;
  }
};

}  // namespace

const Criterion& random_draw() {
  static const RandomDraw criterion({.name = "random",
                                     .about = "random numbers",
                                     .family = "random",
                                     .needs = Criterion::Needs::kWeights,
                                     .uses_seed = true});
  return criterion;
}

}  // namespace elek::criteria
