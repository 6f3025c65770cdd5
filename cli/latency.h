// SPDX-License-Identifier: Apache-2.0
// Measures whether a cut network is faster than the dense one, and rounds counts to the steps of this machine's time
// (--round-to measured). Tests: tests/cli/latency_test.cpp
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/context.h"
#include "prune/select.h"

namespace elek::cli {

/// Rounds to the nearest step of the measured time (prune/staircase.h) and prints each group whose count changes. Keeps a
/// reference to `context`.
[[nodiscard]] std::function<int64_t(const Graph&, const Group&, int64_t)> measured_rounding(Context& context);

/// Milliseconds of a run. p10 and p90 show the spread.
struct Latency {
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};
[[nodiscard]] Json latency_json(const Latency& latency);
/// Whether even the fast runs of `one` take longer than the slow runs of `other`.
[[nodiscard]] bool is_slower(const Latency& one, const Latency& other);

struct Latencies {
  Latency dense;
  Latency pruned;
};
/// Runs both networks with one image, in turns, for a second but at least a few turns. The time of a turn is the shortest of
/// three runs. Nothing if both networks do not fit in memory together.
[[nodiscard]] std::optional<Latencies> measure_latencies(const Model& dense, const Model& pruned, Context& context);

/// "one image: dense 1.390 ms, pruned 0.750 ms: 1.85 times as fast", or that the pruned one is SLOWER, or that they cannot be
/// distinguished (their ranges from 10 to 90 % overlap).
[[nodiscard]] std::string latency_text(const std::optional<Latencies>& latencies);

}  // namespace elek::cli
