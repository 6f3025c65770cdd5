// SPDX-License-Identifier: Apache-2.0
// Allocation and release alone: our pool against malloc, and against mimalloc and jemalloc where their shared libraries are
// installed (Debian: libmimalloc2.0, libjemalloc2; loaded at run time, never linked). Two traces: the tensors of one pass
// through a ResNet-50's worth of blocks, and 100,000 random events. No byte of the blocks is touched, so that the time is the
// allocators'; a case whose trace does not come out even gives no number.
#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <cstdlib>

#include "engine/memory/phantom.h"
#include "engine/memory/pool.h"
#include "engine/plan/replay.h"

namespace elek {
namespace {

/// Residual blocks as lowering makes them: 16 blocks of three convolutions and their workspaces, four stages.
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

const Trace& trace_for(int64_t which) {
  static const Trace network = network_trace();
  static const Trace random = random_trace(1, 100'000, 500);
  return which == 0 ? network : random;
}

template <typename Allocate, typename Free>
void play(benchmark::State& state, Allocate&& allocate, Free&& free_block) {
  const Trace& trace = trace_for(state.range(0));
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
    for (size_t i = 0; i < blocks.size(); ++i) {  // what the trace leaves alive
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
  if (f.live_bytes != 0 || f.misuses != 0) state.SkipWithError("the pool's books do not come out even");
}

void malloc_free(benchmark::State& state) {
  play(
      state, [](size_t bytes) { return std::malloc(bytes); }, [](void* block, size_t) { std::free(block); });
}

void library(benchmark::State& state, const char* file, const char* allocate_name, const char* free_name) {
  void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    state.SkipWithError("not installed");
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

BENCHMARK(pool)->Arg(0)->Arg(1)->ArgName("random")->Unit(benchmark::kMicrosecond);
BENCHMARK(malloc_free)->Arg(0)->Arg(1)->ArgName("random")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(library, mimalloc, "libmimalloc.so.2", "mi_malloc", "mi_free")
    ->Arg(0)
    ->Arg(1)
    ->ArgName("random")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(library, jemalloc, "libjemalloc.so.2", "malloc", "free")
    ->Arg(0)
    ->Arg(1)
    ->ArgName("random")
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace elek

BENCHMARK_MAIN();
