// SPDX-License-Identifier: Apache-2.0
#include "api/caller_memory.h"

#include <memory>
#include <string>

#include "api/error.h"
#include "api/options.h"
#include "elek/session.h"

namespace elek::api {

CallerBlock::CallerBlock(void* block, size_t bytes) {
  block_ = block;
  bytes_ = bytes;
  if (std::align(kAlignment, kAlignment, block_, bytes_) == nullptr) bytes_ = 0;
  bytes_ = bytes_ / kAlignment * kAlignment;
}

void* CallerBlock::do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) {
  if (taken_ || bytes > bytes_) {
    throw OutOfMemory("'" + std::string(label.name) + "' does not fit into the caller's block",
                      {.requested_bytes = bytes,
                       .in_use_bytes = taken_ ? bytes_ : 0,
                       .peak_bytes = taken_ ? bytes_ : 0,
                       .limit_bytes = bytes_,
                       .largest_free_bytes = taken_ ? 0 : bytes_});
  }
  taken_ = true;
  return block_;
}

void CallerBlock::do_deallocate(void* /*block*/, size_t /*bytes*/, Stream /*stream*/) noexcept { taken_ = false; }

void* CallerFunctions::do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) {
  const std::string name(label.name);
  void* const block = allocate_(context_, bytes, kAlignment, name.c_str());
  if (block == nullptr) {
    throw OutOfMemory("the caller's allocator has no memory for '" + name + "'", {.requested_bytes = bytes});
  }
  if (reinterpret_cast<uintptr_t>(block) % kAlignment != 0) {
    deallocate_(context_, block, bytes);
    throw UsageError("the caller's allocator gave a block for '" + name + "' that is not aligned to " +
                     std::to_string(kAlignment) + " bytes");
  }
  return block;
}

void CallerFunctions::do_deallocate(void* block, size_t bytes, Stream /*stream*/) noexcept {
  deallocate_(context_, block, bytes);
}

CallerMemory::CallerMemory(const elek_options& options) {
  const bool functions = options.allocate != nullptr || options.deallocate != nullptr;
  require(options.block == nullptr || !functions, "options: give a block or an allocator, not both");
  require(!functions || (options.allocate != nullptr && options.deallocate != nullptr),
          "options: give both allocate and deallocate, or neither");
  require((options.block == nullptr) == (options.block_bytes == 0), "options: give both block and block_bytes, or neither");
  const Device device = device_of(options.device, options.device_index);
  require(device == Device{} || (options.block == nullptr && !functions),
          "options: a caller's block or allocator is for sessions on the CPU; on another device use memory_limit_bytes");
  MemoryResource* upstream = nullptr;
  if (options.block != nullptr) {
    block_.emplace(options.block, options.block_bytes);
    pool_.emplace(*block_, PoolOptions{.segment_bytes = block_->usable_bytes()});
    upstream = &*pool_;
  } else if (functions) {
    upstream = &functions_.emplace(options);
  } else {
    upstream = &default_memory(device);
  }
  if (options.memory_limit_bytes != 0) upstream = &limit_.emplace(*upstream, options.memory_limit_bytes);
  tracker_.emplace(*upstream);
}

}  // namespace elek::api
