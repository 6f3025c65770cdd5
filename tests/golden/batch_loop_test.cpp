// SPDX-License-Identifier: Apache-2.0
// The order in which batches are begun and ended, on a simulated device that keeps its input and answers later. The source
// overwrites a slot as soon as it gets it back, as a loader does.
#include "engine/batch_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <stdexcept>
#include <string>

#include "core/error.h"

namespace elek {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kBatch = 3;

/// Batches of kBatch samples of one pixel: sample i is i, its label 100 + i.
class NumberSource final : public BatchSource {
 public:
  explicit NumberSource(int64_t samples) : samples_(samples) {
    for (size_t i = 0; i < 2; ++i) {
      slots_[i] = {pixels_[i].data(), labels_[i].data(), kBatch, 0, {1, 1, 1}};
    }
  }
  int64_t samples() const override { return samples_; }
  int64_t classes() const override { return 0; }
  std::string description() const override { return "numbers"; }
  void start(std::span<Slot> /*slots*/) override {}
  void stop() noexcept override {}
  const Slot* next() override {
    if (delivered_ > 0) {  // the loader has the slot again
      pixels_[static_cast<size_t>(delivered_ - 1) % 2].fill(255);
      labels_[static_cast<size_t>(delivered_ - 1) % 2].fill(-7);
    }
    if (delivered_ == fails_at) throw InputError("a file that cannot be read");
    const int64_t first = delivered_ * kBatch;
    if (first >= samples_) return nullptr;
    Slot& slot = slots_[static_cast<size_t>(delivered_++) % 2];
    slot.count = std::min(kBatch, samples_ - first);
    for (int64_t i = 0; i < slot.count; ++i) {
      slot.pixels[i] = static_cast<uint8_t>(first + i);
      slot.labels[i] = static_cast<int32_t>(100 + first + i);
    }
    return &slot;
  }
  int64_t fails_at = -1;

 private:
  const int64_t samples_;
  int64_t delivered_ = 0;
  std::array<std::array<uint8_t, kBatch>, 2> pixels_{};
  std::array<std::array<int32_t, kBatch>, 2> labels_{};
  std::array<Slot, 2> slots_;
};

/// "Computes" only when asked for the logits: the latest moment at which a device may read its input.
class PlayedDevice {
 public:
  explicit PlayedDevice(int depth) : depth_(depth) {}
  [[nodiscard]] int depth() const { return depth_; }
  void begin(const Slot& slot) {
    ASSERT_LT(static_cast<int>(waiting.size()), depth_);
    waiting.emplace_back(slot.pixels, slot.pixels + slot.count);
    log.push_back("begin");
  }
  std::span<const float> end() {
    EXPECT_FALSE(waiting.empty());
    if (waiting.empty()) return {};
    logits_.assign(waiting.front().begin(), waiting.front().end());
    waiting.pop_front();
    log.push_back("end");
    return logits_;
  }
  std::deque<std::vector<float>> waiting;
  std::vector<std::string> log;

 private:
  const int depth_;
  std::vector<float> logits_;
};

struct Seen {
  std::vector<float> logits;
  std::vector<int32_t> labels;
  std::vector<int64_t> progress;
};

int64_t run(PlayedDevice& device, BatchSource& source, Seen& seen, int64_t max_batches = 0) {
  const auto visit = [&](const Slot& slot, std::span<const float> logits) {
    EXPECT_EQ(static_cast<int64_t>(logits.size()), slot.count);
    EXPECT_EQ(slot.pixels, nullptr) << "they are the loader's again";
    seen.logits.insert(seen.logits.end(), logits.begin(), logits.end());
    seen.labels.insert(seen.labels.end(), slot.labels, slot.labels + slot.count);
  };
  return batch_loop(
      device, source, max_batches, [] {}, visit, [&](int64_t done) { seen.progress.push_back(done); });
}

TEST(BatchLoop, VisitsEveryBatchInOrderWithItsLabelsAtEveryDepth) {
  for (const int depth : {1, 2}) {
    PlayedDevice device(depth);
    NumberSource source(8);
    Seen seen;
    EXPECT_EQ(run(device, source, seen), 8);
    EXPECT_THAT(seen.logits, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)) << depth;
    EXPECT_THAT(seen.labels, ElementsAre(100, 101, 102, 103, 104, 105, 106, 107)) << depth;
    EXPECT_THAT(seen.progress, ElementsAre(3, 6, 8)) << depth;
  }
}

TEST(BatchLoop, BeginsABatchBeforeItEndsTheOneBefore) {
  PlayedDevice two(2);
  NumberSource source(9);
  Seen seen;
  (void)run(two, source, seen);
  EXPECT_THAT(two.log, ElementsAre("begin", "begin", "end", "begin", "end", "end"));
  PlayedDevice one(1);
  NumberSource again(9);
  (void)run(one, again, seen);
  EXPECT_THAT(one.log, ElementsAre("begin", "end", "begin", "end", "begin", "end"));
}

TEST(BatchLoop, StopsAtTheLimit) {
  PlayedDevice device(2);
  NumberSource source(30);
  Seen seen;
  EXPECT_EQ(run(device, source, seen, 2), 6);
  EXPECT_TRUE(device.waiting.empty());
}

TEST(BatchLoop, LeavesNothingUnderWayWhenAFileOrAVisitorFails) {
  PlayedDevice device(2);
  NumberSource source(30);
  source.fails_at = 2;
  Seen seen;
  EXPECT_THROW((void)run(device, source, seen), InputError);
  EXPECT_TRUE(device.waiting.empty());
  NumberSource other(30);
  const auto visit = [](const Slot&, std::span<const float>) { throw std::runtime_error("a visitor"); };
  EXPECT_THROW((void)batch_loop(
                   device, other, 0, [] {}, visit, [](int64_t) {}),
               std::runtime_error);
  EXPECT_TRUE(device.waiting.empty());
}

}  // namespace
}  // namespace elek
