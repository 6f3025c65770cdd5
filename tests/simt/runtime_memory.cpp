// SPDX-License-Identifier: Apache-2.0
// See runtime.h. Allocations of device memory and of page-locked memory, copies, fills.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/simt/runtime_world.h"

namespace elek::simt {
namespace {

/// The live block in which all of these bytes lie; null if there is none.
const Allocation* block_of(const void* data, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const auto& blocks = world().blocks;
  auto found = blocks.upper_bound(address);
  if (found == blocks.begin()) return nullptr;
  --found;
  return address + bytes <= found->first + found->second.bytes ? &found->second : nullptr;
}
bool on_device(const void* data, size_t bytes) {
  const Allocation* block = block_of(data, bytes);
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

}  // namespace

void release(uintptr_t address) {
  std::free(reinterpret_cast<void*>(address));
  world().blocks.erase(address);
}

}  // namespace elek::simt

using namespace elek::simt;  // NOLINT: the calls below are the C interface of what is above

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
  if (const cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, nullptr); status != cudaSuccess) return status;
  // A copy to the device from pageable memory may return before the bytes are there; a copy inside a device always does.
  const bool to_device = on_device(to, bytes), from_pageable = block_of(from, bytes) == nullptr;
  if (to_device && (from_pageable || on_device(from, bytes))) return cudaSuccess;
  return cudaStreamSynchronize(nullptr);
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
    // Copies inside a device over and over are being timed; a page-locked slot may have been filled again in between.
    const uintptr_t which[] = {reinterpret_cast<uintptr_t>(to), reinterpret_cast<uintptr_t>(from), bytes};
    if (on_device(to, bytes) && on_device(from, bytes))
      operation.name.assign(reinterpret_cast<const char*>(which), sizeof(which));
  }
  const cudaError_t status = put(stream, std::move(operation), false);
  const CUstream_st* used = real_stream(stream);
  if (status != cudaSuccess || !to_pageable || used->capturing) return status;
  return work_until([used] { return used->queue.empty(); });
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
