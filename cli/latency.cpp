// SPDX-License-Identifier: Apache-2.0
#include "cli/latency.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <memory>
#include <vector>

#include "cli/timing.h"
#include "core/error.h"
#include "core/runtime.h"
#include "engine/layer_times.h"
#include "prune/staircase.h"

namespace elek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSeconds = 1;
constexpr size_t kFewestTurns = 7;
constexpr size_t kMostTurns = 100;
constexpr int kRunsOfATurn = 3;  // the first run finds the caches full of the other network's data

double turn_ms(Session& session) {
  double least = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRunsOfATurn; ++run) {
    const Clock::time_point before = Clock::now();
    (void)session.run(session.slots()[0]);
    least = std::min(least, std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  }
  return least;
}

Latency latency_of(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  return {percentile(ms, 0.1), percentile(ms, 0.5), percentile(ms, 0.9)};
}

}  // namespace

std::function<int64_t(const Graph&, const Group&, int64_t)> measured_rounding(Context& context) {
  const auto times = std::make_shared<LayerTimes>(context.session_options(1));
  return [times, &context](const Graph& graph, const Group& group, int64_t kept) {
    const int64_t edge = nearest_edge(group.channels, group.conv_groups, kept,
                                      [&](int64_t width) { return group_us(graph, group, width, *times); });
    if (edge != kept) {
      context.output().note("elek: --round-to measured: " + group.name + " keeps " + std::to_string(edge) + " of " +
                            std::to_string(group.channels) + " channels instead of " + std::to_string(kept));
    }
    return edge;
  };
}

Json latency_json(const Latency& latency) { return {{"p10", latency.p10}, {"p50", latency.p50}, {"p90", latency.p90}}; }

bool is_slower(const Latency& one, const Latency& other) { return one.p10 > other.p90; }

std::optional<Latencies> measure_latencies(const Model& dense, const Model& pruned, Context& context) {
  try {
    const SessionOptions options = context.session_options(1);
    Session first(dense, options), second(pruned, options);
    for (Session* session : {&first, &second}) {
      fill_with_random_pixels(session->slots()[0], context.common().seed);
      (void)turn_ms(*session);
    }
    std::vector<double> of_dense, of_pruned;
    const Clock::time_point start = Clock::now();
    const auto enough = [&] { return std::chrono::duration<double>(Clock::now() - start).count() > kSeconds; };
    while (of_dense.size() < kFewestTurns || (of_dense.size() < kMostTurns && !enough())) {
      throw_if_interrupted();
      of_dense.push_back(turn_ms(first));
      of_pruned.push_back(turn_ms(second));
    }
    return Latencies{latency_of(std::move(of_dense)), latency_of(std::move(of_pruned))};
  } catch (const OutOfMemory&) {
    return std::nullopt;
  }
}

std::string latency_text(const std::optional<Latencies>& latencies) {
  if (!latencies) return "one image: not timed, because both networks together do not fit into --memory-limit";
  const auto& [dense, pruned] = *latencies;
  std::string text = "one image: dense " + decimal(dense.p50, 3) + " ms, pruned " + decimal(pruned.p50, 3) + " ms: ";
  if (is_slower(dense, pruned)) return text + decimal(dense.p50 / pruned.p50, 2) + " times as fast";
  if (is_slower(pruned, dense)) return text + "THE PRUNED NETWORK IS SLOWER";
  return text + "no clear difference (their ranges from 10 to 90 % overlap)";
}

}  // namespace elek::cli
