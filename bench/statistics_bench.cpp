// SPDX-License-Identifier: Apache-2.0
// What watching costs: ResNet-18 with the CIFAR stem, batches of 50, with the default criterion's sums, with every set of sums
// at once, and with tap norms. A watching session takes turns with a plain one. `over_plain` comes from each pair's own ratio,
// so a machine that slows down affects both. The time is the watching turn's, per batch. Checked first, else no number: the
// watching session gives the plain logits and has counted what it should. bench/peers/run --only watch does the same in two
// processes, for longer.
// Run: build/bin/bench_statistics
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "bench/random_model.h"
#include "bench/suite.h"
#include "elek/session.h"
#include "graph/passes.h"
#include "prune/score.h"

namespace elek {
namespace {

constexpr int64_t kBatch = 50;
constexpr int64_t kRounds = 21;
constexpr int kBatchesATurn = 2;
constexpr double kTolerance = 2e-5;  // of the largest logit

/// Every set of sums on every stored value; the moments where there is a pre-activation.
Probes every_set(const Graph& graph) {
  Probes probes;
  for (const FusedNode& step : fuse(graph).steps) {
    const bool has_z = step.node.is<Conv2dAttrs>() || step.node.is<LinearAttrs>();
    const uint32_t moments = has_z ? uint32_t{kMoments} : 0U;
    probes.values[graph.node(step.output).name] = kActivity | kAbsolute | kRange | kPerSample | moments;
  }
  return probes;
}

Session session_of(const Model& model, const Probes& probes, int threads) {
  SessionOptions options;
  options.batch = kBatch;
  options.threads = threads;
  options.probes = probes;
  Session session(model, options);
  bench::fill_with_random_pixels(session.slots()[0]);
  return session;
}

/// What is wrong with the watching session's results; empty if nothing is.
std::string wrong(Session& watching, Session& plain, const Probes& probes) {
  const auto want = plain.run(plain.slots()[0]);
  const auto got = watching.run(watching.slots()[0]);
  double largest = 0;
  for (const float x : want) largest = std::max(largest, std::fabs(static_cast<double>(x)));
  for (size_t i = 0; i < want.size(); ++i) {
    const double off = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(off <= kTolerance * largest)) return "logit " + std::to_string(i) + " is off by " + std::to_string(off);
  }
  const Statistics sums = watching.statistics();
  if (sums.values.size() != probes.values.size() || sums.tap_norms.size() != probes.tap_norms.size())
    return "something was not watched";
  for (const auto& [name, value] : sums.values) {
    if (value.samples != kBatch || value.count <= 0 || value.nonfinite != 0) return "'" + name + "' was miscounted";
  }
  return "";
}

/// Seconds per batch.
double turn(Session& session) {
  using Clock = std::chrono::steady_clock;
  (void)session.run(session.slots()[0]);  // brings its weights and arena back into the cache; not timed
  const auto start = Clock::now();
  for (int i = 0; i < kBatchesATurn; ++i) (void)session.run(session.slots()[0]);
  return std::chrono::duration<double>(Clock::now() - start).count() / kBatchesATurn;
}

void watch(benchmark::State& state, const std::string& what) {
  const Model model = bench::random_model("resnet18", Stem::kCifar, {3, 32, 32}, 10);
  const Probes probes = what == "every_set" ? every_set(model.graph) : probes_for(find_criterion(what), model.graph);
  const auto threads = static_cast<int>(state.range(0));
  Session plain = session_of(model, {}, threads);
  Session watching = session_of(model, probes, threads);
  if (const std::string why = wrong(watching, plain, probes); !why.empty()) return bench::fail(state, why);
  std::vector<double> ratios;
  for (auto _ : state) {
    const bool first = ratios.size() % 2 == 0;
    const double early = turn(first ? plain : watching), late = turn(first ? watching : plain);
    state.SetIterationTime(first ? late : early);
    ratios.push_back(first ? late / early : early / late);
  }
  std::sort(ratios.begin(), ratios.end());
  const auto at = [&](double share) {
    return ratios[static_cast<size_t>(share * static_cast<double>(ratios.size() - 1) + 0.5)];
  };
  state.counters["over_plain"] = at(0.5);
  state.counters["over_plain_p10"] = at(0.1);
  state.counters["over_plain_p90"] = at(0.9);
  state.counters["statistics_bytes"] = static_cast<double>(watching.memory().statistics_bytes);
}

}  // namespace
}  // namespace elek

int main(int argc, char** argv) {
  for (const char* what : {"std-consumer", "every_set", "wanda"})
    benchmark::RegisterBenchmark((std::string("watch/resnet18-cifar/") + what).c_str(), elek::watch, what)
        ->ArgName("threads")
        ->Arg(2)
        ->Iterations(elek::kRounds)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  return elek::bench::run(argc, argv);
}
