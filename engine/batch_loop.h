// SPDX-License-Identifier: Apache-2.0
// The loop that feeds batches to a session: while the device computes one, the pixels of the next are copied and the loader
// decodes the one after. What runs them is a template parameter, so that the order of things is tested without a device. Tests:
// tests/golden/batch_loop_test.cpp
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "elek/batch_source.h"

namespace elek {

/// Most batches that a runner may have under way.
inline constexpr int kMostBatchesUnderWay = 2;

/// Batches begun and not ended, oldest first, with what is kept of their slots: these go back to the loader as soon as their
/// pixels have been read. On the way out it waits for those left, so that nothing reads or writes memory that is gone.
/// Runner: depth() = how many may be under way; begin(slot) returns once the pixels have been read; end() waits for the oldest
/// and gives its logits, which hold until as many batches as depth() have been begun after it.
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
      } catch (const std::exception&) {  // another error is on its way, or the device's own shows at the next call
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
  /// Calls visit(slot, logits) of the oldest.
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

/// Runs batches until the source or max_batches (< 1: no limit) ends them. `before` is called before each, `visit(slot,
/// logits)` and then `progress(samples)` after each, in order. Returns samples.
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
