// SPDX-License-Identifier: Apache-2.0
#include "engine/run_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/percentile.h"
#include "core/runtime.h"

namespace elek {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kFewestRuns = 5;
constexpr double kSecondsInTurns = 1;
constexpr size_t kFewestTurns = 7;
constexpr size_t kMostTurns = 100;
constexpr int kRunsOfATurn = 3;  // the first run finds the caches full of the other network's data

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double run_ms(Session& session) {
  const Clock::time_point before = Clock::now();
  (void)session.run(session.slots()[0]);
  return 1e3 * seconds_since(before);
}

double turn_ms(Session& session) {
  double least = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRunsOfATurn; ++run) least = std::min(least, run_ms(session));
  return least;
}

}  // namespace

void fill_with_random_pixels(Slot& slot, uint64_t seed) {
  slot.count = slot.capacity;
  Random random(seed);
  const int64_t pixels = slot.count * slot.shape.elements();
  std::generate_n(slot.pixels, pixels, [&random] { return static_cast<uint8_t>(random.next() >> 56U); });
  std::fill_n(slot.labels, slot.count, -1);
}

Latency latency_of(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  return {percentile(ms, 0.1), percentile(ms, 0.5), percentile(ms, 0.9)};
}

bool is_slower(const Latency& one, const Latency& other) { return one.p10 > other.p90; }

std::vector<double> time_runs(Session& session, double seconds) {
  std::vector<double> ms;
  const Clock::time_point start = Clock::now();
  while (ms.size() < kFewestRuns || seconds_since(start) < seconds) {
    throw_if_interrupted();
    ms.push_back(run_ms(session));
  }
  return ms;
}

std::optional<Latencies> time_in_turns(const Model& dense, const Model& pruned, const SessionOptions& options, uint64_t seed) {
  try {
    SessionOptions own = options;
    if (!pruned.quantization.empty()) own.precision = Precision::kInt8;  // as it is meant to run
    Session first(dense, options), second(pruned, own);
    for (Session* session : {&first, &second}) {
      fill_with_random_pixels(session->slots()[0], seed);
      (void)turn_ms(*session);
    }
    std::vector<double> of_dense, of_pruned;
    const Clock::time_point start = Clock::now();
    while (of_dense.size() < kFewestTurns || (of_dense.size() < kMostTurns && seconds_since(start) <= kSecondsInTurns)) {
      throw_if_interrupted();
      of_dense.push_back(turn_ms(first));
      of_pruned.push_back(turn_ms(second));
    }
    return Latencies{latency_of(std::move(of_dense)), latency_of(std::move(of_pruned))};
  } catch (const OutOfMemory&) {
    return std::nullopt;
  }
}

Agreement agreement(std::span<const float> logits, std::span<const float> f32, int64_t samples) {
  ELEK_CHECK(f32.size() == logits.size() && samples > 0 && f32.size() % static_cast<size_t>(samples) == 0,
             "agreement of " + std::to_string(logits.size()) + " and " + std::to_string(f32.size()) + " logits of " +
                 std::to_string(samples) + " samples");
  double most = 0, largest = 0;
  for (size_t i = 0; i < f32.size(); ++i) {
    const double off = std::fabs(static_cast<double>(logits[i]) - static_cast<double>(f32[i]));
    if (std::isnan(off) || off > most) most = off;  // a NaN stays: nothing is larger
    largest = std::max(largest, std::fabs(static_cast<double>(f32[i])));
  }
  const size_t classes = f32.size() / static_cast<size_t>(samples);
  const auto best = [classes](std::span<const float> all, size_t n) {
    const std::span<const float> row = all.subspan(n * classes, classes);
    return std::max_element(row.begin(), row.end()) - row.begin();
  };
  int64_t same = 0;
  for (size_t n = 0; n < static_cast<size_t>(samples); ++n) same += best(logits, n) == best(f32, n) ? 1 : 0;
  return {most / largest, static_cast<double>(same) / static_cast<double>(samples)};
}

}  // namespace elek
