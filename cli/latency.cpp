// SPDX-License-Identifier: Apache-2.0
#include "cli/latency.h"

namespace elek::cli {

Json latency_json(const Latency& latency) { return {{"p10", latency.p10}, {"p50", latency.p50}, {"p90", latency.p90}}; }

std::string latency_text(const std::optional<Latencies>& latencies) {
  if (!latencies) return "one image: not timed, because both networks together do not fit into --memory-limit";
  const auto& [dense, pruned] = *latencies;
  std::string text = "one image: dense " + decimal(dense.p50, 3) + " ms, pruned " + decimal(pruned.p50, 3) + " ms: ";
  if (is_slower(dense, pruned)) return text + decimal(dense.p50 / pruned.p50, 2) + " times as fast";
  if (is_slower(pruned, dense)) return text + "THE PRUNED NETWORK IS SLOWER";
  return text + "no clear difference (their ranges from 10 to 90 % overlap)";
}

}  // namespace elek::cli
