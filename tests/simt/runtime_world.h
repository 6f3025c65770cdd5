// SPDX-License-Identifier: Apache-2.0
// The internals of the stand-in for CUDA's runtime, for its parts (runtime_*.cpp) only: the contents of a stream, and the one
// state that every call works on, under one lock. runtime.cpp defines the order of events.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/runtime.h"
#include "tests/simt/runtime.h"

namespace elek::simt {

enum class Kind : uint8_t { kKernel, kMemset, kCopy, kRecord, kWait, kFree };

struct EventState {
  int device = 0;
  bool timed = false;
  uint64_t recorded = 0;   // how often it was recorded on a stream
  uint64_t completed = 0;  // the latest recording that was reached
  double at_us = 0;
};

struct Operation {
  Kind kind = Kind::kKernel;
  std::function<void()> work;
  double cost_us = 1;
  double ready_us = 0;                // the device's time before which it cannot start, because the host had not put it there
  std::shared_ptr<EventState> event;  // kRecord, kWait
  uint64_t version = 0;
  std::string name;  // of work that may be repeated
};

/// Detects repeated work on a stream: one operation, or two in turns (a kernel and the one that adds up after it).
class Repetition {
 public:
  /// Whether work with this name has run often enough. An empty name never counts as a repetition.
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

}  // namespace elek::simt

struct CUstream_st {
  int device = 0;
  std::deque<elek::simt::Operation> queue;
  elek::simt::Repetition repetition;
  bool capturing = false, broken = false;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  std::thread::id capturer;
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

constexpr int kPinned = -1;

struct Allocation {
  size_t bytes = 0;
  int device = kPinned;
};

struct World {
  Machinery machinery;
  std::map<uintptr_t, Allocation> blocks;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::map<int, CUstream_st*> null_streams;  // [device]; among `streams`
  std::set<cudaEvent_t> events;
  std::set<cudaGraphExec_t> executables;
  std::vector<double> clocks_us;  // [device]
  double host_us = 0, call_us = 0;
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

World& world();
extern thread_local cudaError_t last_error;
extern thread_local int current_device;

/// Depending on the pace, runs a part of the queued work.
void make_progress();
/// Runs work until `done` returns true. A fault if no work is left before that.
cudaError_t work_until(const std::function<bool()>& done);
/// Common to all work that is put on a stream. `own_device`: the stream must belong to the current device. `call`: it takes the
/// host a call of its own.
cudaError_t put(cudaStream_t stream, Operation operation, bool own_device, bool call = true);
bool known(cudaStream_t stream);
/// The stream that the current device uses for null; other streams as they are.
CUstream_st* real_stream(cudaStream_t stream);
/// Microseconds of a device's time.
double& clock_of(int device);

/// Whether a recording forbids this thread to wait, allocate or free.
bool recording();
cudaError_t break_recording();

/// Frees a block's memory, even if queued work uses it.
void release(uintptr_t address);

}  // namespace elek::simt
