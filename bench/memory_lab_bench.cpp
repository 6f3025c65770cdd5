// SPDX-License-Identifier: Apache-2.0
// Allocation and release alone: our pool against malloc, and against mimalloc and tcmalloc if their shared libraries are
// installed (Debian: libmimalloc2.0, libtcmalloc-minimal4; loaded at run time, never linked). jemalloc (libjemalloc2) cannot be
// loaded late; with LD_PRELOAD it is the malloc of the case malloc_free. Three traces: 0, what a cut of a network allocates,
// recorded (parameters, surgery, two sessions); 1, 100,000 random events; 2, the tensors of one pass through as many blocks as
// a ResNet-50 has. No byte of the blocks is touched, so the time is the allocator's. A case whose allocations and releases do
// not match gives no number.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "bench/suite.h"
#include "core/memory/phantom.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "elek/model.h"
#include "elek/session.h"
#include "lab/replay.h"
#include "prune/apply.h"
#include "prune/groups.h"
#include "prune/select.h"

namespace elek {
namespace {

/// Residual blocks like those of a lowered network: 16 blocks of three convolutions and their workspaces, four stages.
Trace network_trace() {
  Program program;
  const auto step = [&](size_t workspace) {
    program.steps.emplace_back();
    program.steps.back().workspace_bytes = workspace;
    return static_cast<int32_t>(program.steps.size()) - 1;
  };
  size_t map = size_t{56} * 56 * 64 * 4;
  for (const int blocks : {3, 4, 6, 3}) {
    for (int b = 0; b < blocks; ++b) {
      const int32_t one = step(0), two = step(400'000), three = step(1000);
      program.storages.push_back({"a", map, one, two});
      program.storages.push_back({"b", map, two, three});
      program.storages.push_back({"sum", 4 * map, three, three});
    }
    map /= 2;
  }
  return trace_of(program);
}

/// The trace of loading, running, cutting and repairing a small ResNet-20.
Trace recorded_trace() {
  ResNetSpec spec = resnet_spec("cifar_resnet20");
  spec.input = {3, 16, 16};
  Tracker tracker(host_resource());
  tracker.record_events(true);
  {
    Model dense;
    dense.graph = build_resnet(spec);
    dense.preprocessing = default_preprocessing(3);
    dense.parameters = random_parameters(dense.graph, 1, tracker);
    const std::vector<Group> groups = find_groups(dense.graph);
    std::vector<std::vector<double>> scores;
    Random random(1);
    for (const Group& group : groups) {
      scores.emplace_back(group.prunable ? static_cast<size_t>(group.channels) : 0);
      for (double& score : scores.back()) score = random.uniform();
    }
    ChannelTarget target;
    target.share = 0.3;
    const PrunePlan plan = select_channels(groups, scores, dense.graph, target);
    const Model pruned = apply(dense, plan, tracker);
    SessionOptions options;
    options.batch = 8;
    options.memory = &tracker;
    for (const Model* model : {static_cast<const Model*>(&dense), &pruned}) {
      Session session(*model, options);
      Slot& slot = session.slots().front();
      slot.count = slot.capacity;
      std::fill_n(slot.pixels, slot.count * slot.shape.elements(), uint8_t{1});
      (void)session.run(slot);
    }
  }
  return trace_of(tracker.events());
}

const Trace& trace_for(int64_t which) {
  static const Trace recorded = recorded_trace();
  static const Trace random = random_trace(1, 100'000, 500);
  static const Trace network = network_trace();
  return which == 0 ? recorded : which == 1 ? random : network;
}
constexpr std::array<const char*, 3> kTraceNames{"a cut, recorded", "random, 100,000 events", "a pass of ResNet-50"};

template <typename Allocate, typename Free>
void play(benchmark::State& state, Allocate&& allocate, Free&& free_block) {
  const Trace& trace = trace_for(state.range(0));
  state.SetLabel(kTraceNames.at(static_cast<size_t>(state.range(0))));
  std::vector<void*> blocks(trace.blocks.size(), nullptr);
  for (auto _ : state) {
    for (const Trace::Event& event : trace.events) {
      const auto block = static_cast<size_t>(event.block);
      if (event.allocation) {
        blocks[block] = allocate(trace.blocks[block].bytes);
        benchmark::DoNotOptimize(blocks[block]);
      } else {
        free_block(blocks[block], trace.blocks[block].bytes);
        blocks[block] = nullptr;
      }
    }
    for (size_t i = 0; i < blocks.size(); ++i) {  // blocks that the trace leaves alive
      if (blocks[i] != nullptr) free_block(blocks[i], trace.blocks[i].bytes);
      blocks[i] = nullptr;
    }
  }
  state.counters["time_an_event"] = benchmark::Counter(
      static_cast<double>(trace.events.size()), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void pool(benchmark::State& state) {
  Phantom upstream;
  Pool pool(upstream);
  play(
      state, [&](size_t bytes) { return pool.allocate(bytes, "tensor"); },
      [&](void* block, size_t bytes) { pool.deallocate(block, bytes); });
  const Pool::Figures f = pool.figures();
  state.counters["upstream_calls"] = static_cast<double>(f.upstream_allocations);
  if (f.live_bytes != 0 || f.misuses != 0) bench::fail(state, "the pool's books do not come out even");
}

void malloc_free(benchmark::State& state) {
  play(
      state, [](size_t bytes) { return std::malloc(bytes); }, [](void* block, size_t) { std::free(block); });
}

void library(benchmark::State& state, const char* file, const char* allocate_name, const char* free_name) {
  void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    state.SkipWithError(dlerror());
    return;
  }
  const auto allocate = reinterpret_cast<void* (*)(size_t)>(dlsym(handle, allocate_name));
  const auto free_block = reinterpret_cast<void (*)(void*)>(dlsym(handle, free_name));
  if (allocate == nullptr || free_block == nullptr) {
    state.SkipWithError("the library has no such functions");
    return;
  }
  play(state, allocate, [free_block](void* block, size_t) { free_block(block); });
}

BENCHMARK(pool)->DenseRange(0, 2)->ArgName("trace")->Unit(benchmark::kMicrosecond);
BENCHMARK(malloc_free)->DenseRange(0, 2)->ArgName("trace")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(library, mimalloc, "libmimalloc.so.2", "mi_malloc", "mi_free")
    ->DenseRange(0, 2)
    ->ArgName("trace")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(library, tcmalloc, "libtcmalloc_minimal.so.4", "tc_malloc", "tc_free")
    ->DenseRange(0, 2)
    ->ArgName("trace")
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace elek

int main(int argc, char** argv) { return elek::bench::run(argc, argv); }
