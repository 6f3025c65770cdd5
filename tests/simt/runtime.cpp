// SPDX-License-Identifier: Apache-2.0
// See runtime.h. The order of events: streams chosen at random, faults, and what tests arrange. Every call takes one lock, and
// nothing runs beside it. The calls themselves: runtime_device.cpp, runtime_memory.cpp, runtime_streams.cpp,
// runtime_graphs.cpp.
#include "tests/simt/runtime.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tests/simt/harness.h"
#include "tests/simt/runtime_world.h"

namespace elek::simt {
namespace {

void fault(cudaError_t status, const std::string& text) {
  World& w = world();
  w.fault = status;
  w.fault_text = text;
  for (auto& stream : w.streams) stream->queue.clear();
}

bool ready(const CUstream_st& stream) {
  if (stream.queue.empty()) return false;
  const Operation& head = stream.queue.front();
  return head.kind != Kind::kWait || world().no_waits || head.event->completed >= head.version;
}

/// Runs the first operation of one ready stream; false if there is none.
bool step() {
  World& w = world();
  std::vector<CUstream_st*> able;
  for (const auto& stream : w.streams) {
    if (ready(*stream)) able.push_back(stream.get());
  }
  if (able.empty()) return false;
  CUstream_st& stream = *able[w.random.below(able.size())];
  const Operation operation = std::move(stream.queue.front());
  stream.queue.pop_front();
  ++w.counts.operations;
  if (w.until_fault > 0 && --w.until_fault == 0) {
    fault(w.planned_fault, "a planned fault");
    return true;
  }
  double& now = clock_of(stream.device);
  now = std::max(now, operation.ready_us) + operation.cost_us;
  if (operation.kind == Kind::kRecord) {
    operation.event->completed = std::max(operation.event->completed, operation.version);
    operation.event->at_us = now;
  }
  if (!operation.work) return true;
  try {
    operation.work();
  } catch (const SimtError& error) {
    std::fprintf(stderr, "stand-in device: %s\n", error.what());
    fault(cudaErrorLaunchFailure, error.what());
  }
  return true;
}

}  // namespace

World& world() {
  static World& the_world = *new World;  // tests' statics may outlive ours
  return the_world;
}
thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

double& clock_of(int device) {
  auto& clocks = world().clocks_us;
  if (clocks.size() <= static_cast<size_t>(device)) clocks.resize(static_cast<size_t>(device) + 1, 0.0);
  return clocks[static_cast<size_t>(device)];
}

void make_progress() {
  World& w = world();
  if (w.pace == Pace::kLazy) return;
  if (w.pace == Pace::kEager) {
    while (step()) {
    }
    return;
  }
  if (w.random.below(4) != 0) return;
  for (uint64_t i = w.random.below(12); i > 0 && step();) --i;
}

cudaError_t work_until(const std::function<bool()>& done) {
  World& w = world();
  while (w.fault == cudaSuccess && !done()) {
    if (!step()) fault(cudaErrorLaunchTimeout, "every stream waits for an event that nothing will record");
  }
  for (const double clock : w.clocks_us) w.host_us = std::max(w.host_us, clock);
  return w.fault == cudaSuccess ? cudaSuccess : record(w.fault);
}

bool known(cudaStream_t stream) {
  if (stream == nullptr) return true;
  const auto& streams = world().streams;
  return std::any_of(streams.begin(), streams.end(), [&](const auto& each) { return each.get() == stream; });
}

CUstream_st* real_stream(cudaStream_t stream) {
  if (stream != nullptr) return stream;
  CUstream_st*& null_stream = world().null_streams[current_device];
  if (null_stream == nullptr) {
    world().streams.push_back(std::make_unique<CUstream_st>());
    null_stream = world().streams.back().get();
    null_stream->device = current_device;
  }
  return null_stream;
}

cudaError_t put(cudaStream_t stream, Operation operation, bool own_device, bool call) {
  World& w = world();
  if (w.fault != cudaSuccess) return record(w.fault);
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  const bool timed = stream != nullptr;  // nothing is timed in the null stream
  stream = real_stream(stream);
  if (own_device && stream->device != current_device) return record(cudaErrorInvalidResourceHandle);
  if (stream->capturing) {
    stream->captured.push_back(std::move(operation));
    return cudaSuccess;
  }
  if (call) w.host_us += w.call_us;
  operation.ready_us = w.host_us;
  if (operation.kind != Kind::kRecord && timed) {
    if (stream->repetition.enough(operation.name)) operation.work = nullptr;
  }
  stream->queue.push_back(std::move(operation));
  make_progress();
  return cudaSuccess;
}

namespace {

/// A recording forbids some calls: of all threads, or of the thread that records.
bool forbids(const CUstream_st& stream) {
  return stream.capturing &&
         (stream.capture_mode == cudaStreamCaptureModeGlobal || stream.capturer == std::this_thread::get_id());
}

}  // namespace

bool recording() {
  return std::any_of(world().streams.begin(), world().streams.end(), [](const auto& s) { return forbids(*s); });
}

cudaError_t break_recording() {
  for (auto& stream : world().streams) stream->broken = stream->broken || forbids(*stream);
  return record(cudaErrorStreamCaptureUnsupported);
}

std::unique_lock<std::recursive_mutex> one_at_a_time() {
  static std::recursive_mutex& mutex = *new std::recursive_mutex;
  return std::unique_lock(mutex);
}

cudaError_t record(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

void reboot(const Machinery& machinery) {
  const auto lock = one_at_a_time();
  World& w = world();
  for (auto& stream : w.streams) stream->queue.clear();
  while (!w.blocks.empty()) release(w.blocks.begin()->first);
  w.machinery = machinery;
  w.fault = cudaSuccess;
  w.until_fault = w.until_refusal = -1;
  w.no_waits = false;
  w.call_us = 0;
  w.counts.allocations = w.counts.graph_launches = w.counts.operations = 0;
  last_error = cudaSuccess;
  current_device = 0;
}

void set_pace(Pace pace, uint64_t seed) {
  const auto lock = one_at_a_time();
  world().pace = pace;
  world().random = Random(seed);
}
void set_call_us(double us) {
  const auto lock = one_at_a_time();
  world().call_us = us;
}
void ignore_waits(bool ignore) {
  const auto lock = one_at_a_time();
  world().no_waits = ignore;
}
void fault_after(int64_t operations, cudaError_t fault) {
  const auto lock = one_at_a_time();
  world().until_fault = operations;
  world().planned_fault = fault;
}
void refuse_allocation(int64_t allocations) {
  const auto lock = one_at_a_time();
  world().until_refusal = allocations;
}

Counts counts() {
  const auto lock = one_at_a_time();
  const World& w = world();
  Counts now = w.counts;
  for (const auto& stream : w.streams) now.queued += static_cast<int64_t>(stream->queue.size());
  for (const auto& [address, block] : w.blocks) (block.device == kPinned ? now.pinned_bytes : now.device_bytes) += block.bytes;
  return now;
}
GraphNodes last_graph() {
  const auto lock = one_at_a_time();
  return world().graph;
}
size_t live_bytes(int device) {
  const auto lock = one_at_a_time();
  size_t bytes = 0;
  for (const auto& [address, block] : world().blocks) bytes += block.device == device ? block.bytes : 0;
  return bytes;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work, std::string name, double cost_us) {
  const auto lock = one_at_a_time();
  Operation operation;
  operation.work = std::move(work);
  operation.name = std::move(name);
  operation.cost_us = cost_us;
  return put(stream, std::move(operation), true);
}

void finish_null_stream() {
  const auto lock = one_at_a_time();
  (void)cudaStreamSynchronize(nullptr);
}

void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::function<void()> body, std::string name) {
  const double blocks = static_cast<double>(grid.x) * grid.y * grid.z;
  const auto run = [grid, block, body = std::move(body)] {
    run_grid(grid, block, {[](const void* data) { (*static_cast<const std::function<void()>*>(data))(); }, &body});
  };
  (void)enqueue(stream, run, std::move(name), 1 + 0.01 * blocks);
}

}  // namespace elek::simt
