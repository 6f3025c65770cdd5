// SPDX-License-Identifier: Apache-2.0
// Sources of device memory and pinned memory: the upstreams for CUDA (docs/memory.md). Pool, Tracker and Limit (core/memory)
// can lie above them. Each knows what it has given out, so that OutOfMemory can report it. They are not in core/memory because
// core includes no CUDA header. Tests: tests/gpu/backend_memory_test.cpp (the contract of tests/contract needs a device)
#pragma once

#include <mutex>
#include <string>

#include "elek/memory.h"

namespace elek::backends::cuda {

/// Live and peak bytes of one resource. Thread-safe.
class ByteCount {
 public:
  void add(size_t bytes);
  void subtract(size_t bytes) noexcept;
  [[nodiscard]] size_t live() const;
  [[nodiscard]] size_t peak() const;

 private:
  mutable std::mutex mutex_;
  size_t live_bytes_ = 0;
  size_t peak_bytes_ = 0;
};

/// cudaMalloc: each block is a separate allocation, aligned to 256 bytes or better. Slow (it synchronises the device), so use
/// it once per session.
class CudaResource final : public MemoryResource {
 public:
  explicit CudaResource(int index) : index_(index) {}
  [[nodiscard]] Device device() const noexcept override { return {DeviceKind::kCuda, index_}; }
  [[nodiscard]] size_t system_bytes() const noexcept override;  // in use on the device, by all processes (cudaMemGetInfo)
  [[nodiscard]] size_t live_bytes() const { return count_.live(); }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  const int index_;
  ByteCount count_;
};

/// cudaMallocAsync on the device's default pool: in stream order, reuses freed memory.
class CudaAsyncResource final : public MemoryResource {
 public:
  /// `kept_bytes`: how much the driver may keep for reuse after everything has been freed.
  /// DeviceError if the device has no memory pools.
  explicit CudaAsyncResource(int index, size_t kept_bytes = 0);
  [[nodiscard]] Device device() const noexcept override { return {DeviceKind::kCuda, index_}; }
  [[nodiscard]] size_t live_bytes() const { return count_.live(); }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  const int index_;
  ByteCount count_;
};

/// Page-locked host memory, visible to every device. Copies to and from a GPU need it to run at full speed.
class PinnedResource final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {}; }
  [[nodiscard]] size_t live_bytes() const { return count_.live(); }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  ByteCount count_;
};

/// The process's own, one per device, made at first use and never destroyed (sessions may outlive main's statics).
[[nodiscard]] CudaResource& cuda_resource(int index);
[[nodiscard]] PinnedResource& pinned_resource();

}  // namespace elek::backends::cuda
