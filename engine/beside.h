// SPDX-License-Identifier: Apache-2.0
// A dense network and a pruned form of it, layer by layer: the speed-up of each layer, and the speed-up that its work and bytes
// allow by the roofs of engine/profile.h. Prints nothing. Tests: tests/golden/step_rounds_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/step_times.h"
#include "elek/session.h"
#include "engine/run_times.h"

namespace elek {

/// One step of both networks. Both roofs use the same share of the definition's multiply-adds, the smaller one of the two
/// kernels'. So a pruned layer that no longer uses Winograd is not excused by it.
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
  /// The part of the pruned step's time that exceeds dense time / allowed speed-up.
  [[nodiscard]] double lost_us() const { return pruned.us - dense.us / allowed(); }
};

struct Beside {
  std::vector<BesideStep> steps;  // in the dense network's order, without steps that run nothing
  Latency dense, pruned;          // whole runs
  size_t runs = 0;                // of each
  int64_t batch = 0;
  double allowed = 0;  // from the sums of all roofs
  [[nodiscard]] double speed_up() const { return dense.p50 / pruned.p50; }
};
/// UsageError if a layer of the pruned network has more channels than in the dense one: the networks are swapped.
void check_beside(const Graph& dense, const Graph& pruned);
/// Runs rounds of both in turns, for `seconds`. InputError if a step of one network does not exist in the other.
[[nodiscard]] Beside profile_beside(Session& dense, Session& pruned, double seconds, uint64_t seed, const Peaks& peaks);

}  // namespace elek
