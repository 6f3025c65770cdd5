// SPDX-License-Identifier: Apache-2.0
// Cuts and the clock: whether the cut network is the faster one, and, with --round-to measured, counts rounded to where this
// machine's time steps up. Tests: tests/cli/latency_test.cpp
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/context.h"
#include "prune/select.h"

namespace elek::cli {

/// Rounds to the nearest edge of the width-latency staircase (prune/staircase.h) and tells each group that moved. Holds a
/// reference to `context`.
[[nodiscard]] std::function<int64_t(const Graph&, const Group&, int64_t)> measured_rounding(Context& context);

/// Milliseconds of a run; p10 and p90 say how steady it was.
struct Latency {
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};
[[nodiscard]] Json latency_json(const Latency& latency);
/// Whether even the quick runs of the first take longer than the slow ones of the other.
[[nodiscard]] bool is_slower(const Latency& one, const Latency& other);

struct Latencies {
  Latency dense;
  Latency pruned;
};
/// Both networks over one image, in turns (a turn is the least of three runs), for a second or a few turns. Nothing where the
/// two do not fit the memory side by side.
[[nodiscard]] std::optional<Latencies> measure_latencies(const Model& dense, const Model& pruned, Context& context);

/// "one image: dense 1.390 ms, pruned 0.750 ms: 1.85 times as fast", or that it is SLOWER, or that the two cannot be told apart
/// (their ranges from 10 to 90 % overlap).
[[nodiscard]] std::string latency_text(const std::optional<Latencies>& latencies);

}  // namespace elek::cli
