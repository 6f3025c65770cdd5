// SPDX-License-Identifier: Apache-2.0
// BatchSource fills a session's staging slots with pixels. data/ implements it with readers and a loader that decodes ahead,
// tests implement it with arrays. The session lends its slots, so pixels are decoded straight into the memory that the device
// reads.
// Tests: tests/data/loader_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "elek/export.h"
#include "elek/types.h"

namespace elek {

/// Memory for one batch of uint8 pixels, sample after sample, each H x W x C (channels last).
struct Slot {
  uint8_t* pixels = nullptr;
  int32_t* labels = nullptr;  // -1 if a sample has none
  int64_t capacity = 0;       // samples
  int64_t count = 0;          // samples filled; the first lies at pixels
  ImageShape shape;
};

class ELEK_API BatchSource {
 public:
  BatchSource() = default;
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;
  virtual ~BatchSource() = default;
  [[nodiscard]] virtual int64_t samples() const = 0;          // in one pass
  [[nodiscard]] virtual int64_t classes() const = 0;          // 0 if unlabelled
  [[nodiscard]] virtual std::string description() const = 0;  // DATA as given
  /// Starts a pass from the first sample. Fills the lent slots in order, ahead of next(). The slots must live until stop().
  /// Calling it again starts a new pass over the same samples in the same order.
  virtual void start(std::span<Slot> slots) = 0;
  /// The next filled slot (count >= 1), or nullptr after the last one. The slot that the call before returned goes back to the
  /// source. InputError names a file that cannot be read; no sample is skipped.
  [[nodiscard]] virtual const Slot* next() = 0;
  /// From the next start() on: the same samples in an order that follows from the seed; without a seed, in the first order
  /// again. Training needs it, because folders are sorted by class. False, and nothing changes, if the source has one order
  /// only.
  virtual bool reorder(std::optional<uint64_t> /*seed*/) { return false; }
  /// Ends the pass; the source no longer uses the slots. Safe to call twice.
  virtual void stop() noexcept = 0;
};

/// One pass over a source. The destructor ends it, also after an exception, so that no thread writes into slots that are gone.
class ELEK_API SourcePass {
 public:
  SourcePass(BatchSource& source, std::span<Slot> slots) : source_(source) { source_.start(slots); }
  SourcePass(const SourcePass&) = delete;
  SourcePass& operator=(const SourcePass&) = delete;
  ~SourcePass() { source_.stop(); }

 private:
  BatchSource& source_;
};

}  // namespace elek
