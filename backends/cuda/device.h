// SPDX-License-Identifier: Apache-2.0
// Devices, streams and events, each owned by exactly one object. Several devices in one process do not disturb each other: code
// that uses a device holds a DeviceGuard, which restores the thread's current device.
// Tests: tests/deviceless/device_test.cpp, tests/gpu/backend_memory_test.cpp
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "core/result.h"

namespace elek::backends::cuda {

/// Makes `index` the thread's current device until the end of the scope.
class DeviceGuard {
 public:
  explicit DeviceGuard(int index);
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard();

 private:
  int before_ = 0;
  bool changed_ = false;
};

struct DeviceFacts {
  int index = 0;
  std::string name;
  int compute_capability = 0;  // 90 = 9.0
  int multiprocessors = 0;
  size_t memory_bytes = 0;
  int driver_version = 0;   // 13000 = 13.0
  int runtime_version = 0;  // of this build
};
/// The device's facts, or the reason why it cannot be used (no driver, driver too old, no such device).
[[nodiscard]] Result<DeviceFacts> find_device(int index);
[[nodiscard]] std::string cuda_version_name(int version);  // 13000 -> "13.0"

/// Owns a non-blocking stream.
class CudaStream {
 public:
  CudaStream();  // on the current device
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  ~CudaStream();
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

enum class Timing : uint8_t { kOff, kOn };

class CudaEvent {
 public:
  explicit CudaEvent(Timing timing = Timing::kOff);
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent();
  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }
  void record(cudaStream_t stream);
  /// Work enqueued on `stream` from now on waits for the recorded work.
  void make_wait(cudaStream_t stream) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// A recording of what a stream was asked to do between begin() and end(). It can be launched many times.
class CudaGraph {
 public:
  CudaGraph() = default;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() { clear(); }
  void clear() noexcept;  // drops the recording
  /// Records what `enqueue` puts on the stream. Nothing runs.
  template <typename Enqueue>
  void record(cudaStream_t stream, Enqueue&& enqueue) {
    begin(stream);
    try {
      enqueue();
    } catch (...) {
      abandon(stream);
      throw;
    }
    end(stream);
  }
  [[nodiscard]] bool recorded() const noexcept { return executable_ != nullptr; }
  void launch(cudaStream_t stream) const;

 private:
  static void begin(cudaStream_t stream);
  static void abandon(cudaStream_t stream) noexcept;
  void end(cudaStream_t stream);
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace elek::backends::cuda
