// SPDX-License-Identifier: Apache-2.0
// Steady inference of whole networks: session.run() of ResNet-18 and ResNet-50 at 224x224, with statistics off, with the
// default criterion's sums, and with tap norms. Each network's logits are first compared with PyTorch's stored ones (the
// fixtures of tests/golden/logits_test.cpp). A wrong network is not timed, and the program fails.
// Also, checked in the same way: reading a model file, planning, binding (planning and packing the weights), and all of it with
// the first run. And with other work: a busy core, a second process that does the same, or a quota of three quarters of the
// cores; `of_idle` is the speed as a share of that without other work, `cores` is processor time by wall time. The cost of
// a cut: bench_prune. Comparisons with other engines: bench/peers. Run: build/bin/bench_session --benchmark_repetitions=5
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/company.h"
#include "bench/suite.h"
#include "elek/model.h"
#include "elek/session.h"
#include "engine/estimate.h"
#include "models/model_file.h"
#include "models/safetensors.h"
#include "prune/score.h"
#include "tests/fixtures/generated.h"

namespace {

using elek::bench::fail;

constexpr double kTolerance = 2e-5;  // of the largest logit, as in the tests

/// The network of fixture `name`; made once, and copies share its weights.
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

/// The largest difference from PyTorch's logits, as a share of the largest logit. The slot keeps random pixels.
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
  for (int64_t n = 0; n < slot.count; ++n)  // the stored samples repeat, so that every place of the batch is checked
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

/// A wrong network gives no number.
bool right(benchmark::State& state, elek::Session& session, const std::string& name) {
  const double off = difference(session, name);
  const bool yes = off <= kTolerance;
  if (!yes) fail(state, "logits differ from PyTorch's by " + std::to_string(off) + " of the largest");
  return yes;
}

elek::SessionOptions options_of(const benchmark::State& state) {
  elek::SessionOptions options;
  options.batch = state.range(0);
  options.threads = static_cast<int>(state.range(1));
  return options;
}

void run_session(benchmark::State& state, const std::string& name, const std::string& statistics) {
  elek::SessionOptions options = options_of(state);
  const elek::Model& model = network(name);
  if (statistics != "none") options.probes = elek::probes_for(elek::find_criterion(statistics), model.graph);
  elek::Session session(model, options);
  if (!right(state, session, name)) return;
  const elek::Slot& slot = session.slots()[0];
  for (int i = 0; i < 3; ++i) benchmark::DoNotOptimize(session.run(slot).data());
  for (auto _ : state) benchmark::DoNotOptimize(session.run(slot).data());
  state.SetItemsProcessed(state.iterations() * options.batch);
  state.counters["arena_bytes"] = static_cast<double>(session.memory().arena_bytes);
  state.counters["statistics_bytes"] = static_cast<double>(session.memory().statistics_bytes);
}

/// Images a second of this session, for half a second.
double images_per_second(elek::Session& session, const elek::Slot& slot) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kTime{500};
  const Clock::time_point begin = Clock::now();
  int64_t images = 0;
  while (Clock::now() - begin < kTime) {
    benchmark::DoNotOptimize(session.run(slot).data());
    images += slot.count;
  }
  return static_cast<double>(images) / std::chrono::duration<double>(Clock::now() - begin).count();
}

enum class Load : uint8_t { kBusy, kTwo, kQuota };

void in_company(benchmark::State& state, const std::string& name, Load load) {
  constexpr double kQuota = 0.75;  // of the cores
  const elek::SessionOptions options = options_of(state);
  const elek::Model& model = network(name);
  elek::Session session(model, options);
  if (!right(state, session, name)) return;
  const elek::Slot& slot = session.slots()[0];
  const double idle = images_per_second(session, slot);
  const elek::bench::Company company([&](const std::function<void()>& ready) {
    if (load == Load::kBusy) elek::bench::keep_a_core_busy(ready);
    if (load == Load::kQuota) elek::bench::keep_parent_to(kQuota * static_cast<double>(options.threads), ready);
    elek::Session other(model, options);
    other.slots()[0].count = other.slots()[0].capacity;
    (void)other.run(other.slots()[0]);
    ready();
    for (;;) (void)other.run(other.slots()[0]);
  });
  const double cpu = elek::bench::cpu_seconds();
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) benchmark::DoNotOptimize(session.run(slot).data());
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  state.SetItemsProcessed(state.iterations() * options.batch);
  state.counters["of_idle"] = static_cast<double>(state.iterations() * options.batch) / wall / idle;
  state.counters["cores"] = (elek::bench::cpu_seconds() - cpu) / wall;
}

/// The network's file; it is removed with this object.
struct ModelFile {
  explicit ModelFile(const std::string& name)
      : path((std::filesystem::temp_directory_path() / ("bench_session_" + name + ".safetensors")).string()) {
    elek::save_model(network(name), path);
  }
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;
  ~ModelFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  std::string path;
};

void load(benchmark::State& state, const std::string& name) {
  const ModelFile file(name);
  if (elek::hash(elek::load_model(file.path, elek::host_resource())) != elek::hash(network(name)))
    return fail(state, "what was read is not what was written");
  for (auto _ : state) benchmark::DoNotOptimize(elek::load_model(file.path, elek::host_resource()));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(std::filesystem::file_size(file.path)));
}

void plan(benchmark::State& state, const std::string& name) {
  const elek::SessionOptions options = options_of(state);
  const elek::SessionMemory foretold = elek::estimate_memory(network(name), options).memory;
  if (foretold.arena_bytes != elek::Session(network(name), options).memory().arena_bytes ||
      foretold.arena_bytes < foretold.lower_bound_bytes)
    return fail(state, "the plan's arena is not the session's, or less than can be");
  for (auto _ : state) benchmark::DoNotOptimize(elek::estimate_memory(network(name), options));
}

void bind(benchmark::State& state, const std::string& name) {
  const elek::SessionOptions options = options_of(state);
  if (elek::Session session(network(name), options); !right(state, session, name)) return;
  for (auto _ : state) benchmark::DoNotOptimize(std::make_unique<elek::Session>(network(name), options));
}

/// From the file to the first logits, without the start of the process (bench/peers/run --only first includes it).
void first(benchmark::State& state, const std::string& name) {
  const ModelFile file(name);
  const elek::SessionOptions options = options_of(state);
  if (elek::Session session(elek::load_model(file.path, elek::host_resource()), options); !right(state, session, name)) return;
  for (auto _ : state) {
    elek::Session session(elek::load_model(file.path, elek::host_resource()), options);
    elek::Slot& slot = session.slots()[0];
    slot.count = slot.capacity;
    benchmark::DoNotOptimize(session.run(slot).data());
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (const char* name : {"resnet18", "resnet50"}) {
    const std::string end = std::string("/") + name;
    benchmark::RegisterBenchmark(("load" + end).c_str(), load, name)->Unit(benchmark::kMillisecond)->UseRealTime();
    for (const auto& [phase, function] : {std::pair{"plan", &plan}, std::pair{"bind", &bind}, std::pair{"first", &first}})
      benchmark::RegisterBenchmark((phase + end).c_str(), function, name)
          ->ArgNames({"batch", "threads"})
          ->ArgsProduct({{1, 16}, {2}})
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
  for (const auto& [load, of] :
       {std::pair{"busy", Load::kBusy}, std::pair{"two", Load::kTwo}, std::pair{"quota", Load::kQuota}})
    benchmark::RegisterBenchmark((std::string("company/") + load + "/resnet18").c_str(), in_company, "resnet18", of)
        ->ArgNames({"batch", "threads"})
        ->ArgsProduct({{1, 16}, {2}})
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  return elek::bench::run(argc, argv);
}
