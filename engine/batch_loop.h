// SPDX-License-Identifier: Apache-2.0
// Feeds batches to a session. While the device computes one batch, the next batch's pixels are copied and the loader decodes
// the one after. The runner is a template parameter, so the order is tested without a device.
// Tests: tests/golden/batch_loop_test.cpp
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "elek/batch_source.h"

namespace elek {

/// The most batches that a runner may have under way.
inline constexpr int kMostBatchesUnderWay = 2;

/// Batches that are begun and not ended, oldest first. Keeps their labels, because a slot goes back to the loader as soon as
/// its pixels have been read. The destructor waits for batches that are left, so nobody reads or writes freed memory.
/// Runner: depth() = how many batches may be under way. begin(slot) returns once the pixels have been read. end() waits for the
/// oldest batch and returns its logits; they are valid until depth() more batches have begun.
template <typename Runner>
class BatchesUnderWay {
 public:
  explicit BatchesUnderWay(Runner& runner) : runner_(runner), depth_(std::clamp(runner.depth(), 1, kMostBatchesUnderWay)) {}
  BatchesUnderWay(const BatchesUnderWay&) = delete;
  BatchesUnderWay& operator=(const BatchesUnderWay&) = delete;
  ~BatchesUnderWay() {
    for (; begun_ > ended_; ++ended_) {
      try {
        (void)runner_.end();
      } catch (const std::exception&) {  // another error is being thrown, or the device's error shows at the next call
      }
    }
  }
  [[nodiscard]] bool empty() const noexcept { return begun_ == ended_; }
  [[nodiscard]] bool full() const noexcept { return begun_ - ended_ == depth_; }

  void begin(const Slot& slot) {
    Batch& batch = batches_[static_cast<size_t>(begun_ % kMostBatchesUnderWay)];
    batch.slot = slot;
    batch.slot.pixels = nullptr;
    if (slot.labels != nullptr) {
      batch.labels.assign(slot.labels, slot.labels + slot.count);
      batch.slot.labels = batch.labels.data();
    }
    runner_.begin(slot);
    ++begun_;
  }
  /// Calls visit(slot, logits) for the oldest batch.
  template <typename Visit>
  int64_t end(Visit&& visit) {
    const Batch& batch = batches_[static_cast<size_t>(ended_++ % kMostBatchesUnderWay)];
    visit(batch.slot, runner_.end());
    return batch.slot.count;
  }

 private:
  struct Batch {
    Slot slot;
    std::vector<int32_t> labels;
  };
  Runner& runner_;
  const int depth_;
  std::array<Batch, kMostBatchesUnderWay> batches_;
  int64_t begun_ = 0;
  int64_t ended_ = 0;
};

/// Runs batches until the source ends or max_batches is reached (< 1: no limit). Calls `before` before each batch; `visit(slot,
/// logits)` and then `progress(samples)` after each, in order. Returns the number of samples.
template <typename Runner>
int64_t batch_loop(Runner& runner, BatchSource& source, int64_t max_batches, const std::function<void()>& before,
                   const std::function<void(const Slot&, std::span<const float>)>& visit,
                   const std::function<void(int64_t)>& progress) {
  int64_t done = 0;
  BatchesUnderWay<Runner> under_way(runner);
  const auto end_oldest = [&] {
    done += under_way.end(visit);
    progress(done);
  };
  for (int64_t batch = 0; max_batches < 1 || batch < max_batches; ++batch) {
    before();
    const Slot* slot = source.next();
    if (slot == nullptr) break;
    under_way.begin(*slot);
    if (under_way.full()) end_oldest();
  }
  while (!under_way.empty()) end_oldest();
  return done;
}

}  // namespace elek
