// SPDX-License-Identifier: Apache-2.0
// The stand-in for CUDA's runtime: devices whose memory is the host's, and streams whose work is delayed. Work that is put on a
// stream waits there. A synchronisation, or sometimes any other call, runs what is ready: the next stream is chosen at random,
// in an order that streams and events allow. So errors show as wrong values: a missing wait between two streams, a buffer
// filled or read too early, host code that believes the device has finished.
// Memory starts as NaN. Copies and fills outside live allocations, work on a stream of another device and the use of destroyed
// handles are errors. Time is computed from the enqueued work, not measured. It cannot find errors that need two kernels at the
// same time, or that depend on the real driver. The default stream (null) has a queue of its own, for which the others, all
// non-blocking, do not wait: a fill or a pageable copy in it may come late. Thread-safe: one call at a time.
// Tests: tests/simt/runtime_test.cpp, tests/simt/engine
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace elek::simt {

struct Machinery {
  int devices = 1;
  size_t memory_bytes = size_t{4} << 30;  // of each
  int compute_capability = 90;
  int driver_version = CUDART_VERSION;
  cudaError_t refusal = cudaSuccess;  // if not success: returned instead of the number of devices
};
/// The state after a reboot: nothing queued, nothing allocated, no fault. Memory that sessions still hold is lost.
void reboot(const Machinery& machinery = {});

/// When the device runs queued work.
enum class Pace : uint8_t {
  kLazy,    // only when somebody waits for it
  kEager,   // at once
  kRandom,  // a part of it, at random times
};
void set_pace(Pace pace, uint64_t seed);
/// The host's time for every call that puts work on a stream, graph launches included. Usually none. A device that is faster
/// than the host waits for it.
void set_call_us(double us);
/// A defect on purpose: streams no longer wait for events.
void ignore_waits(bool ignore);
/// The n-th operation from now fails while it runs, like an illegal address: all later calls return this error.
void fault_after(int64_t operations, cudaError_t fault = cudaErrorIllegalAddress);
/// The n-th allocation from now (device or page-locked memory) is refused.
void refuse_allocation(int64_t allocations);

struct Counts {
  int64_t allocations = 0;  // of all kinds, since the reboot
  int64_t graph_launches = 0;
  int64_t operations = 0;   // run, on all streams
  int64_t queued = 0;       // now
  size_t device_bytes = 0;  // live now, on all devices
  size_t pinned_bytes = 0;
};
[[nodiscard]] Counts counts();

struct GraphNodes {
  int64_t kernels = 0;
  int64_t memsets = 0;
  int64_t copies = 0;
};
/// The nodes of the graph that was instantiated last.
[[nodiscard]] GraphNodes last_graph();
[[nodiscard]] size_t live_bytes(int device);

// ---- for the stand-ins of libraries ----

[[nodiscard]] std::unique_lock<std::recursive_mutex> one_at_a_time();
/// Remembers the thread's last error; returns it.
cudaError_t record(cudaError_t status);
/// Puts a library's work on a stream of the current device; it takes `cost_us` of the device's time. Work that repeats is being
/// timed, so it need not run: of equal `name`s in a row, the second and later ones take their time and do nothing; of two names
/// in turns, the third round and later ones.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work, std::string name, double cost_us);

}  // namespace elek::simt
