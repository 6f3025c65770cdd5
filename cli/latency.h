// SPDX-License-Identifier: Apache-2.0
// The texts about times: whether a cut network is faster than the dense one (engine/run_times.h).
// Tests: tests/cli/latency_test.cpp
#pragma once

#include <optional>
#include <string>

#include "cli/context.h"
#include "engine/run_times.h"

namespace elek::cli {

[[nodiscard]] Json latency_json(const Latency& latency);

/// "one image: dense 1.390 ms, pruned 0.750 ms: 1.85 times as fast", or that the pruned one is SLOWER, or that they cannot be
/// distinguished (their ranges from 10 to 90 % overlap).
[[nodiscard]] std::string latency_text(const std::optional<Latencies>& latencies);

}  // namespace elek::cli
