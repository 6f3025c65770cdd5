// SPDX-License-Identifier: Apache-2.0
// Times of whole runs on random pixels: of one session, and of two networks in turns, so that other work on the machine
// disturbs both alike. And how far the logits of another precision are from f32's. Prints nothing. Tests:
// tests/golden/run_times_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/session.h"

namespace elek {

/// Fills a whole batch with random pixels, without labels.
void fill_with_random_pixels(Slot& slot, uint64_t seed);

/// Milliseconds of a run. p10 and p90 show the spread.
struct Latency {
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
};
/// ContractError if there are no times.
[[nodiscard]] Latency latency_of(std::vector<double> ms);
/// Whether even the fast runs of `one` take longer than the slow runs of `other`.
[[nodiscard]] bool is_slower(const Latency& one, const Latency& other);

/// Milliseconds of runs of the session's first slot, which must be filled: for `seconds`, but at least five runs. Throws
/// Interrupted if the user asks to stop.
[[nodiscard]] std::vector<double> time_runs(Session& session, double seconds);

struct Latencies {
  Latency dense;
  Latency pruned;
};
/// Runs both networks in turns, for a second but at least a few turns. The time of a turn is the shortest of three runs.
/// Nothing if both networks do not fit in memory together.
[[nodiscard]] std::optional<Latencies> time_in_turns(const Model& dense, const Model& pruned, const SessionOptions& options,
                                                     uint64_t seed);

/// How far logits are from those of f32.
struct Agreement {
  double difference = 0;  // the largest, as a share of f32's largest logit; NaN if a logit is
  double same_top1 = 0;   // share of the images whose best class is the same
};
/// Both [samples, classes], of the same images. ContractError if their sizes differ.
[[nodiscard]] Agreement agreement(std::span<const float> logits, std::span<const float> f32, int64_t samples);

}  // namespace elek
