// SPDX-License-Identifier: Apache-2.0
// Tests: tests/gpu/backend_memory_test.cpp
#include "backends/cuda/memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <memory>

#include "backends/cuda/device.h"
#include "backends/cuda/error.h"
#include "core/error.h"

namespace elek::backends::cuda {
namespace {

struct MemoryInfo {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
};
/// Of the current device; zeros if the driver does not say.
MemoryInfo memory_info() noexcept {
  MemoryInfo info;
  if (cudaMemGetInfo(&info.free_bytes, &info.total_bytes) == cudaSuccess) return info;
  (void)cudaGetLastError();
  return {};
}

/// Throws OutOfMemory with the device's figures and ours.
[[noreturn]] void throw_out_of_memory(const std::string& where, std::string_view label, size_t bytes, const ByteCount& count) {
  (void)cudaGetLastError();
  const auto [free_bytes, total_bytes] = memory_info();
  OutOfMemory::Figures figures;
  figures.requested_bytes = bytes;
  figures.in_use_bytes = count.live();
  figures.peak_bytes = count.peak();
  figures.limit_bytes = total_bytes;
  figures.largest_free_bytes = free_bytes;  // an upper bound: the driver does not report its largest hole
  throw OutOfMemory(
      "'" + std::string(label) + "' on " + where + " (use a smaller batch, or free what else runs there: nvidia-smi)", figures);
}

std::string place(int index) { return to_string(Device{DeviceKind::kCuda, index}); }

}  // namespace

void ByteCount::add(size_t bytes) {
  const std::lock_guard lock(mutex_);
  live_bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
}

void ByteCount::subtract(size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  live_bytes_ -= std::min(bytes, live_bytes_);
}

size_t ByteCount::live() const {
  const std::lock_guard lock(mutex_);
  return live_bytes_;
}

size_t ByteCount::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_bytes_;
}

size_t CudaResource::system_bytes() const noexcept {
  try {
    const DeviceGuard guard(index_);
    const MemoryInfo info = memory_info();
    return info.total_bytes - info.free_bytes;
  } catch (const DeviceError&) {  // after a fault the driver does not answer
    return 0;
  }
}

void* CudaResource::do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) {
  const DeviceGuard guard(index_);
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) throw_out_of_memory(place(index_), label.name, bytes, count_);
  ELEK_CUDA_CALL(status);
  count_.add(bytes);
  return block;
}

void CudaResource::do_deallocate(void* block, size_t bytes, Stream /*stream*/) noexcept {
  report_cuda(cudaFree(block), "cudaFree");  // waits for the device, so nothing that still runs loses its memory
  count_.subtract(bytes);
}

CudaAsyncResource::CudaAsyncResource(int index, size_t kept_bytes) : index_(index) {
  const DeviceGuard guard(index_);
  int supported = 0;
  ELEK_CUDA_CALL(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, index_));
  if (supported == 0) throw DeviceError(place(index_) + ": the driver has no memory pools (cudaMallocAsync); use cudaMalloc");
  cudaMemPool_t pool = nullptr;
  ELEK_CUDA_CALL(cudaDeviceGetDefaultMemPool(&pool, index_));
  uint64_t threshold = kept_bytes;
  ELEK_CUDA_CALL(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
}

void* CudaAsyncResource::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  const DeviceGuard guard(index_);
  void* block = nullptr;
  const cudaError_t status = cudaMallocAsync(&block, bytes, static_cast<cudaStream_t>(stream.handle));
  if (status == cudaErrorMemoryAllocation) throw_out_of_memory(place(index_), label.name, bytes, count_);
  ELEK_CUDA_CALL(status);
  count_.add(bytes);
  return block;
}

void CudaAsyncResource::do_deallocate(void* block, size_t bytes, Stream stream) noexcept {
  try {
    const DeviceGuard guard(index_);  // the null stream belongs to the current device
    report_cuda(cudaFreeAsync(block, static_cast<cudaStream_t>(stream.handle)), "cudaFreeAsync");
  } catch (const DeviceError&) {  // after a fault even the guard fails; the block is lost with the context
  }
  count_.subtract(bytes);
}

void* PinnedResource::do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) {
  void* block = nullptr;
  const cudaError_t status = cudaHostAlloc(&block, bytes, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) throw_out_of_memory("the host, page-locked", label.name, bytes, count_);
  ELEK_CUDA_CALL(status);
  count_.add(bytes);
  return block;
}

void PinnedResource::do_deallocate(void* block, size_t bytes, Stream /*stream*/) noexcept {
  report_cuda(cudaFreeHost(block), "cudaFreeHost");
  count_.subtract(bytes);
}

CudaResource& cuda_resource(int index) {
  static std::mutex& mutex = *new std::mutex;
  static auto& resources = *new std::map<int, std::unique_ptr<CudaResource>>;
  const std::lock_guard lock(mutex);
  auto& resource = resources[index];
  if (resource == nullptr) resource = std::make_unique<CudaResource>(index);
  return *resource;
}

PinnedResource& pinned_resource() {
  static PinnedResource& resource = *new PinnedResource;
  return resource;
}

}  // namespace elek::backends::cuda
