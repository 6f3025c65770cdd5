// SPDX-License-Identifier: Apache-2.0
// The memory that a C caller gives a session: one block, or two functions; over either, or over the device's own memory, a
// limit and a count of what is held. Only the session uses it; the loaded model lies elsewhere. Tests:
// tests/api/memory_test.cpp
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "elek/c.h"
#include "elek/memory.h"

namespace elek::api {

/// One block of the caller's, handed out whole. A pool over it hands out its parts.
class CallerBlock final : public MemoryResource {
 public:
  /// The part of the block that begins and ends on kAlignment.
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

/// The caller's two functions.
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

/// What one session allocates from. Outlives it.
class CallerMemory {
 public:
  /// Errors    UsageError (both ways given, half of one, or a device that takes neither), DeviceError
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
