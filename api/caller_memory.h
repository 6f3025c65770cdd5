// SPDX-License-Identifier: Apache-2.0
// The memory that a C caller gives a session: one block, or two functions. A limit and a count of the held bytes lie on top of
// it, or of the device's own memory. Only the session uses it; the loaded model lies elsewhere.
// Tests: tests/api/memory_test.cpp
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "elek/c.h"
#include "elek/memory.h"

namespace elek::api {

/// One block of the caller's, allocated as a whole. A pool on top of it divides it.
class CallerBlock final : public MemoryResource {
 public:
  /// Uses the largest part of the block that begins and ends at a multiple of kAlignment.
  CallerBlock(void* block, size_t bytes);
  [[nodiscard]] Device device() const noexcept override { return {}; }
  [[nodiscard]] size_t usable_bytes() const noexcept { return bytes_; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  void* block_ = nullptr;
  size_t bytes_ = 0;
  bool taken_ = false;
};

/// Calls the caller's two functions.
class CallerFunctions final : public MemoryResource {
 public:
  explicit CallerFunctions(const elek_options& options)
      : allocate_(options.allocate), deallocate_(options.deallocate), context_(options.memory_context) {}
  [[nodiscard]] Device device() const noexcept override { return {}; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  elek_allocate allocate_;
  elek_deallocate deallocate_;
  void* context_;
};

/// The memory that one session allocates from. Must outlive it.
class CallerMemory {
 public:
  /// Errors    UsageError (block and functions given, only one of a pair, or a device that takes neither), DeviceError
  explicit CallerMemory(const elek_options& options);
  [[nodiscard]] MemoryResource& resource() noexcept { return *tracker_; }
  [[nodiscard]] Tracker::Figures figures() const { return tracker_->figures(); }

 private:
  std::optional<CallerBlock> block_;
  std::optional<Pool> pool_;
  std::optional<CallerFunctions> functions_;
  std::optional<Limit> limit_;
  std::optional<Tracker> tracker_;
};

}  // namespace elek::api
