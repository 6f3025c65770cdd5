// SPDX-License-Identifier: Apache-2.0
// elek profile --beside: a dense network and a pruned form of it, layer by layer: how many times as fast each layer got, and
// how many times its work and bytes allow by the roofs of engine/profile.h. Tests: tests/cli/profile_test.cpp
#pragma once

#include <string>
#include <vector>

#include "cli/latency.h"
#include "cli/output.h"
#include "core/step_times.h"
#include "elek/session.h"

namespace elek::cli {

/// One step of both networks. Roofs are of the same share of the definition's multiply-adds, the smaller one of the two
/// kernels': a pruned layer that lost Winograd is no excuse.
struct BesideStep {
  struct Side {
    double us = 0;
    double roof_us = 0;
    int64_t inputs = 0;  // channels
    int64_t outputs = 0;
    std::string kernel;
  };
  std::string name;
  Side dense, pruned;
  [[nodiscard]] double speed_up() const { return dense.us / pruned.us; }
  [[nodiscard]] double allowed() const { return dense.roof_us / pruned.roof_us; }
  [[nodiscard]] double share() const { return speed_up() / allowed(); }
  /// Of the pruned step's time, what is beyond the dense one's time over what is allowed.
  [[nodiscard]] double lost_us() const { return pruned.us - dense.us / allowed(); }
};

struct Beside {
  std::vector<BesideStep> steps;  // in the dense network's order; those that run nothing are left out
  Latency dense, pruned;          // whole runs
  size_t runs = 0;                // of each
  int64_t batch = 0;
  double allowed = 0;  // by all roofs together
  [[nodiscard]] double speed_up() const { return dense.p50 / pruned.p50; }
};
/// Rounds of both in turns, for `seconds`. InputError if they are not of one network: a step of one that the other has not.
[[nodiscard]] Beside profile_beside(Session& dense, Session& pruned, double seconds, uint64_t seed, const Peaks& peaks);
[[nodiscard]] std::string beside_text(const Beside& beside);
[[nodiscard]] Json beside_json(const Beside& beside);

}  // namespace elek::cli
