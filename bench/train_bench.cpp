// SPDX-License-Identifier: Apache-2.0
// A training step (forward, backward, Adam) of networks with folded batch norm, batch 50, f32: the steps of the distillation.
// Checks first, else no number: the logits are those of a session, and every gradient is finite. bench/peers/train_step.py
// times PyTorch on the same networks, in turns with this program.
// Run: build/bin/bench_train --benchmark_repetitions=5
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bench/random_model.h"
#include "bench/suite.h"
#include "elek/session.h"
#include "train/adam.h"
#include "train/trainer.h"

namespace elek {
namespace {

constexpr int64_t kBatch = 50;

struct Network {
  const char* name;
  const char* arch;
  Stem stem;
  ImageShape input;
  int64_t classes;
};
constexpr Network kNetworks[] = {{"shipped", "cifar_resnet20", Stem::kCifar, {1, 28, 28}, 10},
                                 {"cifar_resnet56", "cifar_resnet56", Stem::kCifar, {3, 32, 32}, 10},
                                 {"resnet18_cifar", "resnet18", Stem::kCifar, {3, 32, 32}, 10}};

enum class Part { kForward, kBackward, kAdam, kAll };

std::string check(const Model& model, train::Trainer& trainer, std::span<const uint8_t> pixels,
                  std::span<const float> gradient) {
  SessionOptions options;
  options.batch = kBatch;
  Session session(model, options);
  Slot slot = session.slots()[0];
  std::copy(pixels.begin(), pixels.end(), slot.pixels);
  slot.count = kBatch;
  const std::vector<float> logits(trainer.forward(pixels, kBatch).begin(), trainer.forward(pixels, kBatch).end());
  const std::span<const float> want = session.run(slot);
  float largest = 0;
  for (const float v : want) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < want.size(); ++i) {
    if (!(std::fabs(logits[i] - want[i]) <= 1e-3F * largest)) return "its logits are not the session's";
  }
  trainer.backward(gradient);
  for (const train::Parameter& p : trainer.parameters()) {
    if (!std::all_of(p.gradient.begin(), p.gradient.end(), [](float g) { return std::isfinite(g); })) return p.name + ": NaN";
  }
  return "";
}

void step(benchmark::State& state, const Network& network, int threads, Part part) {
  const Model model = bench::random_model(network.arch, network.stem, network.input, network.classes);
  train::Trainer trainer(model, {.batch = kBatch, .threads = threads});
  train::Adam adam(trainer, 1e-6, threads, host_resource());  // so small that the network stays what it is
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * network.input.elements()));
  Random random(3);
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.below(256));
  const std::vector<float> gradient(static_cast<size_t>(kBatch * network.classes), 0.01F);
  if (const std::string wrong = check(model, trainer, pixels, gradient); !wrong.empty()) return bench::fail(state, wrong);
  for (auto _ : state) {
    if (part == Part::kBackward) state.PauseTiming();
    if (part != Part::kAdam) (void)trainer.forward(pixels, kBatch);
    if (part == Part::kBackward) state.ResumeTiming();
    if (part == Part::kBackward || part == Part::kAll) trainer.backward(gradient);
    if (part == Part::kAdam || part == Part::kAll) adam.step(1);
  }
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(kBatch * state.iterations()), benchmark::Counter::kIsRate);
  state.counters["arena MB"] = static_cast<double>(trainer.plan().arena_bytes) / 1e6;
}

}  // namespace
}  // namespace elek

int main(int argc, char** argv) {
  using elek::Part;
  for (const elek::Network& network : elek::kNetworks)
    for (const int threads : {1, 2})
      for (const auto& [part, name] : {std::pair{Part::kAll, "step"}, std::pair{Part::kForward, "forward"},
                                       std::pair{Part::kBackward, "backward"}, std::pair{Part::kAdam, "adam"}}) {
        const std::string full = std::string(name) + "/" + network.name + "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(full.c_str(), elek::step, network, threads, part)
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
  return elek::bench::run(argc, argv);
}
