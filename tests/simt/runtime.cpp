// SPDX-License-Identifier: Apache-2.0
// See runtime.h. Every call takes one lock; nothing runs beside it.
#include "tests/simt/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/runtime.h"
#include "tests/simt/harness.h"

namespace elek::simt {
namespace {

enum class Kind : uint8_t { kKernel, kMemset, kCopy, kRecord, kWait, kFree };

struct EventState {
  int device = 0;
  bool timed = false;
  uint64_t recorded = 0;   // how often it was put on a stream
  uint64_t completed = 0;  // the latest of those that has been reached
  double at_us = 0;
};

struct Operation {
  Kind kind = Kind::kKernel;
  std::function<void()> work;
  double cost_us = 1;
  std::shared_ptr<EventState> event;  // kRecord, kWait
  uint64_t version = 0;
  std::string name;  // of what may be repeated
};

/// Sees that a stream is given the same over and over: one operation, or two in turns (a kernel and the one that adds up after
/// it).
class Repetition {
 public:
  /// True if what is called so has been run often enough. Empty: never the same as anything.
  bool enough(const std::string& name) {
    const bool again = !name.empty() && name == last_, in_turns = !again && !name.empty() && name == before_last_;
    repeats_ = again ? repeats_ + 1 : 0;
    turns_ = in_turns ? turns_ + 1 : 0;
    before_last_ = std::exchange(last_, name);
    return repeats_ >= 1 || turns_ > 2;
  }

 private:
  std::string last_, before_last_;
  int repeats_ = 0, turns_ = 0;
};

}  // namespace
}  // namespace elek::simt

struct CUstream_st {
  int device = 0;
  std::deque<elek::simt::Operation> queue;
  elek::simt::Repetition repetition;
  bool capturing = false, broken = false;
  std::vector<elek::simt::Operation> captured;
};
struct CUevent_st {
  std::shared_ptr<elek::simt::EventState> state;
};
struct CUgraph_st {
  std::vector<elek::simt::Operation> operations;
};
struct CUgraphExec_st {
  int device = 0;
  std::vector<elek::simt::Operation> operations;
};

namespace elek::simt {
namespace {

constexpr int kPinned = -1;

struct Block {
  size_t bytes = 0;
  int device = kPinned;
};

struct World {
  Machinery machinery;
  std::map<uintptr_t, Block> blocks;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraphExec_t> executables;
  std::vector<double> clocks_us;  // a device
  cudaError_t fault = cudaSuccess;
  std::string fault_text;
  int64_t until_fault = -1, until_refusal = -1;
  cudaError_t planned_fault = cudaSuccess;
  Pace pace = Pace::kRandom;
  Random random{1};
  bool no_waits = false;
  Counts counts;
  GraphNodes graph;
};

World& world() {
  static World& the_world = *new World;  // tests' statics may outlive ours
  return the_world;
}
thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

void release(uintptr_t address) {
  std::free(reinterpret_cast<void*>(address));
  world().blocks.erase(address);
}

double& clock_of(int device) {
  auto& clocks = world().clocks_us;
  if (clocks.size() <= static_cast<size_t>(device)) clocks.resize(static_cast<size_t>(device) + 1, 0.0);
  return clocks[static_cast<size_t>(device)];
}

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
  now += operation.cost_us;
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

/// Works until `done`; a fault if nothing can go on before that.
template <typename Done>
cudaError_t work_until(Done done) {
  World& w = world();
  while (w.fault == cudaSuccess && !done()) {
    if (!step()) fault(cudaErrorLaunchTimeout, "every stream waits for an event that nothing will record");
  }
  return w.fault == cudaSuccess ? cudaSuccess : record(w.fault);
}

bool known(cudaStream_t stream) {
  if (stream == nullptr) return true;
  const auto& streams = world().streams;
  return std::any_of(streams.begin(), streams.end(), [&](const auto& each) { return each.get() == stream; });
}

/// The live block in which all of these bytes lie; null if there is none.
const Block* block_of(const void* data, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const auto& blocks = world().blocks;
  auto found = blocks.upper_bound(address);
  if (found == blocks.begin()) return nullptr;
  --found;
  return address + bytes <= found->first + found->second.bytes ? &found->second : nullptr;
}
bool on_device(const void* data, size_t bytes) {
  const Block* block = block_of(data, bytes);
  return block != nullptr && block->device != kPinned;
}

cudaError_t allocate(void** data, size_t bytes, int device) {
  World& w = world();
  if (w.fault != cudaSuccess) return record(w.fault);
  if (w.until_refusal > 0 && --w.until_refusal == 0) return record(cudaErrorMemoryAllocation);
  size_t live = 0;
  for (const auto& [address, block] : w.blocks) live += block.device == device ? block.bytes : 0;
  if (bytes > w.machinery.memory_bytes - live) return record(cudaErrorMemoryAllocation);
  void* made = nullptr;
  if (posix_memalign(&made, 256, std::max<size_t>(bytes, 1)) != 0) return record(cudaErrorMemoryAllocation);
  std::memset(made, 0xFF, bytes);  // NaN
  w.blocks[reinterpret_cast<uintptr_t>(made)] = {bytes, device};
  ++w.counts.allocations;
  *data = made;
  return cudaSuccess;
}

/// Common to everything that is put on a stream. `own_device`: the stream has to be the current device's.
cudaError_t put(cudaStream_t stream, Operation operation, bool own_device) {
  World& w = world();
  if (w.fault != cudaSuccess) return record(w.fault);
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  if (stream == nullptr) {
    if (operation.work) operation.work();
    return cudaSuccess;
  }
  if (own_device && stream->device != current_device) return record(cudaErrorInvalidResourceHandle);
  if (stream->capturing) {
    stream->captured.push_back(std::move(operation));
    return cudaSuccess;
  }
  if (operation.kind != Kind::kRecord) {
    if (stream->repetition.enough(operation.name)) operation.work = nullptr;
  }
  stream->queue.push_back(std::move(operation));
  make_progress();
  return cudaSuccess;
}

bool copies_are_sound(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = on_device(to, bytes), from_device = on_device(from, bytes);
  switch (kind) {
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    default:
      return true;
  }
}

/// No call that waits, allocates or frees may be made in a thread that is recording.
bool recording() {
  return std::any_of(world().streams.begin(), world().streams.end(), [](const auto& s) { return s->capturing; });
}

cudaError_t break_recording() {
  for (auto& stream : world().streams) stream->broken = stream->broken || stream->capturing;
  return record(cudaErrorStreamCaptureUnsupported);
}

}  // namespace

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
  w.counts.allocations = w.counts.graph_launches = w.counts.operations = 0;
  last_error = cudaSuccess;
  current_device = 0;
}

void set_pace(Pace pace, uint64_t seed) {
  const auto lock = one_at_a_time();
  world().pace = pace;
  world().random = Random(seed);
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

void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::function<void()> body, std::string name) {
  const double blocks = static_cast<double>(grid.x) * grid.y * grid.z;
  const auto run = [grid, block, body = std::move(body)] {
    run_grid(grid, block, {[](const void* data) { (*static_cast<const std::function<void()>*>(data))(); }, &body});
  };
  (void)enqueue(stream, run, std::move(name), 1 + 0.01 * blocks);
}

}  // namespace elek::simt

using namespace elek::simt;  // NOLINT: the calls below are the C interface of what is above

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetLastError() {
  const auto lock = one_at_a_time();
  const cudaError_t fault = world().fault;
  return fault != cudaSuccess ? fault : std::exchange(last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorLaunchTimeout:
      return "cudaErrorLaunchTimeout";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaError";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorInvalidConfiguration) return "invalid configuration argument";
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return error != cudaSuccess && error == world().fault ? world().fault_text.c_str() : "an error of the SIMT harness";
}

cudaError_t cudaGetDeviceCount(int* count) {
  const auto lock = one_at_a_time();
  *count = 0;
  if (world().machinery.refusal != cudaSuccess) return record(world().machinery.refusal);
  *count = world().machinery.devices;
  return *count == 0 ? record(cudaErrorNoDevice) : cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  const auto lock = one_at_a_time();
  *device = current_device;
  return world().fault == cudaSuccess ? cudaSuccess : record(world().fault);
}

cudaError_t cudaSetDevice(int device) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  if (device < 0 || device >= world().machinery.devices) return record(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const auto lock = one_at_a_time();
  if (device < 0 || device >= world().machinery.devices) return record(cudaErrorInvalidDevice);
  std::snprintf(properties->name, sizeof(properties->name), "stand-in device");
  properties->totalGlobalMem = world().machinery.memory_bytes;
  properties->major = world().machinery.compute_capability / 10;
  properties->minor = world().machinery.compute_capability % 10;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  const auto lock = one_at_a_time();
  *version = world().machinery.driver_version;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *total_bytes = world().machinery.memory_bytes;
  *free_bytes = *total_bytes - live_bytes(current_device);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  const auto lock = one_at_a_time();
  if (recording()) return break_recording();
  return allocate(data, bytes, current_device);
}

/// Waits for the device, as the real one does.
cudaError_t cudaFree(void* data) {
  const auto lock = one_at_a_time();
  if (data == nullptr) return cudaSuccess;
  if (recording()) return break_recording();
  const auto found = world().blocks.find(reinterpret_cast<uintptr_t>(data));
  if (found == world().blocks.end() || found->second.device == kPinned) return record(cudaErrorInvalidValue);
  const cudaError_t status = cudaDeviceSynchronize();
  if (status == cudaSuccess) release(found->first);
  return status;
}

cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  return allocate(data, bytes, stream != nullptr ? stream->device : current_device);
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  const auto address = reinterpret_cast<uintptr_t>(data);
  if (world().blocks.count(address) == 0) return record(cudaErrorInvalidValue);
  Operation operation;
  operation.kind = Kind::kFree;
  operation.work = [address] { release(address); };
  return put(stream, std::move(operation), false);
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  const auto lock = one_at_a_time();
  return allocate(data, bytes, kPinned);
}

cudaError_t cudaFreeHost(void* data) {
  const auto lock = one_at_a_time();
  const auto found = world().blocks.find(reinterpret_cast<uintptr_t>(data));
  if (found == world().blocks.end() || found->second.device != kPinned) return record(cudaErrorInvalidValue);
  const cudaError_t status = work_until([] { return counts().queued == 0; });
  if (status == cudaSuccess) release(found->first);
  return status;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  if (recording()) return break_recording();
  if (!copies_are_sound(to, from, bytes, kind)) return record(cudaErrorInvalidValue);
  std::memcpy(to, from, bytes);  // the default stream does not wait for non-blocking ones
  return cudaSuccess;
}

/// From pageable memory the bytes are taken before the call returns; to pageable memory it returns when they are there.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!copies_are_sound(to, from, bytes, kind)) return record(cudaErrorInvalidValue);
  const bool from_pageable = block_of(from, bytes) == nullptr, to_pageable = block_of(to, bytes) == nullptr;
  Operation operation;
  operation.kind = Kind::kCopy;
  operation.cost_us = 1 + 1e-5 * static_cast<double>(bytes);
  if (from_pageable) {
    const auto* bytes_now = static_cast<const std::byte*>(from);
    operation.work = [to, taken = std::vector<std::byte>(bytes_now, bytes_now + bytes)] {
      if (!taken.empty()) std::memcpy(to, taken.data(), taken.size());
    };
  } else {
    operation.work = [to, from, bytes] { std::memmove(to, from, bytes); };
  }
  const cudaError_t status = put(stream, std::move(operation), false);
  if (status != cudaSuccess || !to_pageable || stream == nullptr || stream->capturing) return status;
  return work_until([stream] { return stream->queue.empty(); });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (bytes == 0) return cudaSuccess;
  if (block_of(to, bytes) == nullptr) return record(cudaErrorInvalidValue);
  Operation operation;
  operation.kind = Kind::kMemset;
  operation.work = [to, value, bytes] { std::memset(to, value, bytes); };
  return put(stream, std::move(operation), false);
}

cudaError_t cudaDeviceSynchronize() {
  const auto lock = one_at_a_time();
  if (recording()) return break_recording();
  return work_until([] {
    return std::all_of(world().streams.begin(), world().streams.end(),
                       [](const auto& s) { return s->device != current_device || s->queue.empty(); });
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  world().streams.push_back(std::make_unique<CUstream_st>());
  world().streams.back()->device = current_device;
  *stream = world().streams.back().get();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (stream == nullptr || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  const cudaError_t status = work_until([stream] { return stream->queue.empty(); });
  auto& streams = world().streams;
  streams.erase(std::find_if(streams.begin(), streams.end(), [&](const auto& each) { return each.get() == stream; }));
  return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  if (recording()) return break_recording();
  if (stream == nullptr) return world().fault == cudaSuccess ? cudaSuccess : record(world().fault);
  return work_until([stream] { return stream->queue.empty(); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (!known(stream)) return record(cudaErrorInvalidResourceHandle);
  make_progress();
  if (world().fault != cudaSuccess) return record(world().fault);
  return stream == nullptr || stream->queue.empty() ? cudaSuccess : record(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  Operation operation;
  operation.kind = Kind::kWait;
  operation.cost_us = 0;
  operation.event = event->state;
  operation.version = event->state->recorded;
  return put(stream, std::move(operation), false);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const auto lock = one_at_a_time();
  if (stream == nullptr || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  if (world().fault != cudaSuccess) return record(world().fault);
  if (stream->capturing) return record(cudaErrorInvalidValue);
  stream->capturing = true;
  stream->broken = false;
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto lock = one_at_a_time();
  *graph = nullptr;
  if (stream == nullptr || !known(stream) || !stream->capturing) return record(cudaErrorInvalidValue);
  stream->capturing = false;
  if (stream->broken) return record(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{std::move(stream->captured)};
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *event = new CUevent_st{std::make_shared<EventState>()};
  (*event)->state->device = current_device;
  (*event)->state->timed = (flags & cudaEventDisableTiming) == 0;
  world().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.erase(event) == 0) return record(cudaErrorInvalidResourceHandle);
  delete event;  // what is queued holds its state
  return world().fault == cudaSuccess ? cudaSuccess : record(world().fault);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0 || !known(stream)) return record(cudaErrorInvalidResourceHandle);
  EventState& state = *event->state;
  if (stream != nullptr && stream->device != state.device) return record(cudaErrorInvalidResourceHandle);
  Operation operation;
  operation.kind = Kind::kRecord;
  operation.cost_us = 0;
  operation.event = event->state;
  operation.version = ++state.recorded;
  if (stream == nullptr) state.completed = state.recorded, state.at_us = clock_of(state.device);
  return put(stream, std::move(operation), false);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  const auto state = event->state;
  return work_until([state] { return state->completed >= state->recorded; });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto lock = one_at_a_time();
  if (world().events.count(event) == 0) return record(cudaErrorInvalidResourceHandle);
  make_progress();
  if (world().fault != cudaSuccess) return record(world().fault);
  return event->state->completed >= event->state->recorded ? cudaSuccess : record(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const auto lock = one_at_a_time();
  if (world().events.count(start) == 0 || world().events.count(end) == 0) return record(cudaErrorInvalidResourceHandle);
  const EventState &a = *start->state, &b = *end->state;
  if (!a.timed || !b.timed) return record(cudaErrorInvalidResourceHandle);
  if (a.completed < a.recorded || b.completed < b.recorded) return record(cudaErrorNotReady);
  *ms = static_cast<float>((b.at_us - a.at_us) / 1000);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const auto lock = one_at_a_time();
  if (world().fault != cudaSuccess) return record(world().fault);
  *executable = new CUgraphExec_st{current_device, graph->operations};
  world().executables.insert(*executable);
  GraphNodes nodes;
  for (const Operation& operation : graph->operations) {
    nodes.kernels += operation.kind == Kind::kKernel ? 1 : 0;
    nodes.memsets += operation.kind == Kind::kMemset ? 1 : 0;
    nodes.copies += operation.kind == Kind::kCopy ? 1 : 0;
  }
  world().graph = nodes;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const auto lock = one_at_a_time();
  if (world().executables.erase(executable) == 0) return record(cudaErrorInvalidResourceHandle);
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const auto lock = one_at_a_time();
  if (world().executables.count(executable) == 0 || stream == nullptr) return record(cudaErrorInvalidResourceHandle);
  ++world().counts.graph_launches;
  for (Operation operation : executable->operations) {
    operation.name.clear();  // a replay is not a measurement
    if (const cudaError_t status = put(stream, std::move(operation), true); status != cudaSuccess) return status;
  }
  return cudaSuccess;
}
