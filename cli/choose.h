// SPDX-License-Identifier: Apache-2.0
// What a cut takes away: by one look at the sums, in rounds with statistics retaken between them (--steps), or as another
// file's history says (--replay). Tests: tests/cli/choose_test.cpp
#pragma once

#include <string>

#include "cli/cut.h"

namespace elek::cli {

struct Choice {
  PrunePlan plan;        // of the dense network
  std::string replayed;  // hash of the network whose choice it repeats, or empty
};

/// Phases: scoring, and with --steps pruning, repair and collection between the rounds. Each round looks at the dense network
/// cut by all rounds so far (checked against the masked one) and repaired as spec.repair says; the first at `collected`.
[[nodiscard]] Choice choose(const Dense& dense, const Collected& collected, const CutSpec& spec, const Watch& watch,
                            Context& context);

}  // namespace elek::cli
