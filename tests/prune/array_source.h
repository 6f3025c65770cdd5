// SPDX-License-Identifier: Apache-2.0
// A BatchSource over pixels in memory: fills slots one after the other, on the caller's thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "elek/batch_source.h"

namespace elek::test {

class ArraySource final : public BatchSource {
 public:
  ArraySource(std::vector<uint8_t> pixels, int64_t samples) : pixels_(std::move(pixels)), samples_(samples) {}
  [[nodiscard]] int64_t samples() const override { return samples_; }
  [[nodiscard]] int64_t classes() const override { return 0; }
  [[nodiscard]] std::string description() const override { return "array"; }
  void start(std::span<Slot> slots) override {
    slots_ = slots;
    done_ = 0;
    turn_ = 0;
  }
  [[nodiscard]] const Slot* next() override {
    ELEK_CHECK(!slots_.empty(), "next() without start()");
    if (done_ == samples_) return nullptr;
    Slot& slot = slots_[turn_++ % slots_.size()];
    slot.count = std::min(slot.capacity, samples_ - done_);
    const auto each = static_cast<size_t>(slot.shape.elements());
    std::memcpy(slot.pixels, pixels_.data() + static_cast<size_t>(done_) * each, static_cast<size_t>(slot.count) * each);
    done_ += slot.count;
    return &slot;
  }
  void stop() noexcept override { slots_ = {}; }
  [[nodiscard]] bool running() const noexcept { return !slots_.empty(); }

 private:
  std::vector<uint8_t> pixels_;
  int64_t samples_ = 0;
  std::span<Slot> slots_;
  int64_t done_ = 0;
  size_t turn_ = 0;
};

}  // namespace elek::test
