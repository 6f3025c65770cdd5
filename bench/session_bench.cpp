// SPDX-License-Identifier: Apache-2.0
// Steady inference of whole networks: session.run() of ResNet-18 and ResNet-50 at 224x224, with statistics off, with the
// default criterion's sums, and with Wanda's norms. Each network's logits are first held against PyTorch's stored ones (the
// fixtures of tests/golden/logits_test.cpp); a wrong network is not timed, and the program fails.
// Before that: what reading a model file, planning and binding (planning and packing the weights) take; nothing to check there
// that the runs do not check. What a cut takes: bench_statistics.
// Comparisons with other engines: bench/peers. Run: build/bin/bench_session --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/session.h"
#include "models/model_file.h"
#include "models/resnet.h"
#include "models/safetensors.h"
#include "prune/score.h"
#include "tests/fixtures/generated.h"

namespace {

constexpr double kTolerance = 2e-5;  // of the largest logit, as in the tests
bool failed = false;

/// The network of fixture `name`; made once, copies share its weights.
const elek::Model& network(const std::string& name) {
  static std::map<std::string, elek::Model> made;
  const auto found = made.find(name);
  if (found != made.end()) return found->second;
  const elek::ResNetSpec spec = elek::resnet_spec(name);
  const auto block = spec.bottleneck ? elek::generated::Block::kBottleneck : elek::generated::Block::kBasic;
  elek::Model model;
  model.architecture = name;
  model.graph = elek::build_resnet(spec);
  model.parameters = elek::generated::parameters(name, model.graph, block, elek::host_resource());
  model.preprocessing = elek::generated::imagenet_preprocessing();
  return made.emplace(name, std::move(model)).first->second;
}

/// The largest difference from PyTorch's logits, as a share of the largest of them; the slot keeps random pixels.
double difference(elek::Session& session, const std::string& name) {
  const auto torch =
      elek::SafetensorsFile::open(std::string(ELEK_SOURCE_DIR) + "/tests/fixtures/logits/" + name + ".safetensors");
  const auto& entry = torch.at("logits");
  const int64_t stored = entry.shape.at(0);
  std::vector<float> want(entry.bytes.size() / sizeof(float));
  std::memcpy(want.data(), entry.bytes.data(), entry.bytes.size());
  elek::Slot& slot = session.slots()[0];
  const auto pixels = elek::generated::pixels(name + "/pixels", stored, slot.shape);
  const auto sample_bytes = static_cast<size_t>(slot.shape.elements());
  slot.count = slot.capacity;
  for (int64_t n = 0; n < slot.count; ++n)  // the stored samples over and over: every place of the batch is checked
    std::memcpy(slot.pixels + static_cast<size_t>(n) * sample_bytes,
                pixels.data() + static_cast<size_t>(n % stored) * sample_bytes, sample_bytes);
  const auto got = session.run(slot);
  const size_t classes = want.size() / static_cast<size_t>(stored);
  double worst = 0;
  double scale = 0;
  for (const float v : want) scale = std::max(scale, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < got.size(); ++i) {
    const size_t n = (i / classes) % static_cast<size_t>(stored);
    const double off = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[n * classes + i % classes])) / scale;
    if (!(off <= kTolerance)) return off;  // a NaN too
    worst = std::max(worst, off);
  }
  return worst;
}

void run_session(benchmark::State& state, const std::string& name, const std::string& statistics) {
  elek::SessionOptions options;
  options.batch = state.range(0);
  options.threads = static_cast<int>(state.range(1));
  const elek::Model& model = network(name);
  if (statistics != "none") options.probes = elek::probes_for(elek::criterion_from_name(statistics), model.graph);
  elek::Session session(model, options);
  const double off = difference(session, name);
  if (!(off <= kTolerance)) {
    failed = true;
    state.SkipWithError(("logits differ from PyTorch's by " + std::to_string(off) + " of the largest").c_str());
    return;
  }
  const elek::Slot& slot = session.slots()[0];
  for (int i = 0; i < 3; ++i) benchmark::DoNotOptimize(session.run(slot).data());
  for (auto _ : state) benchmark::DoNotOptimize(session.run(slot).data());
  state.SetItemsProcessed(state.iterations() * options.batch);
  state.counters["arena_bytes"] = static_cast<double>(session.memory().arena_bytes);
  state.counters["statistics_bytes"] = static_cast<double>(session.memory().statistics_bytes);
}

void load(benchmark::State& state, const std::string& name) {
  const std::string path = (std::filesystem::temp_directory_path() / ("bench_session_" + name + ".safetensors")).string();
  elek::save_model(network(name), path);
  for (auto _ : state) benchmark::DoNotOptimize(elek::load_model(path, elek::host_resource()));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(std::filesystem::file_size(path)));
  std::filesystem::remove(path);
}

void plan(benchmark::State& state, const std::string& name) {
  elek::SessionOptions options;
  options.batch = state.range(0);
  for (auto _ : state) benchmark::DoNotOptimize(elek::estimate_memory(network(name), options));
}

void bind(benchmark::State& state, const std::string& name) {
  elek::SessionOptions options;
  options.batch = state.range(0);
  for (auto _ : state) benchmark::DoNotOptimize(std::make_unique<elek::Session>(network(name), options));
}

}  // namespace

int main(int argc, char** argv) {
  for (const char* name : {"resnet18", "resnet50"}) {
    const std::string end = std::string("/") + name;
    benchmark::RegisterBenchmark(("load" + end).c_str(), load, name)->Unit(benchmark::kMillisecond)->UseRealTime();
    for (const auto& [phase, function] : {std::pair{"plan", &plan}, std::pair{"bind", &bind}})
      benchmark::RegisterBenchmark((phase + end).c_str(), function, name)
          ->ArgName("batch")
          ->Arg(1)
          ->Arg(16)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  }
  for (const char* name : {"resnet18", "resnet50"})
    for (const char* statistics : {"none", "std-consumer", "wanda"})
      benchmark::RegisterBenchmark((std::string(name) + "/" + statistics).c_str(), run_session, name, statistics)
          ->ArgNames({"batch", "threads"})
          ->ArgsProduct({{1, 16}, {2}})
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return failed ? 1 : 0;
}
