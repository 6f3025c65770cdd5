// SPDX-License-Identifier: Apache-2.0
// Loader: threads decode ahead into the lent slots. Threads take samples in order, a few at a time, and write each sample to
// the place of its number. So the result does not depend on which thread decodes what. One mutex guards all counters, and no
// thread decodes under it. A warm loader allocates nothing itself (image files do while they are decoded).
// Tests: tests/data/loader_test.cpp
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/data.h"

namespace elek {
namespace {

class Loader final : public BatchSource {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
      : dataset_(std::move(dataset)), options_(std::move(options)) {
    ELEK_CHECK(dataset_ != nullptr, "a loader needs a data set");
    ELEK_CHECK(options_.threads >= 1 && options_.limit >= 0,
               "threads=" + std::to_string(options_.threads) + ", limit=" + std::to_string(options_.limit));
    samples_ = options_.limit > 0 ? std::min(options_.limit, dataset_->size()) : dataset_->size();
    if (options_.shuffle_seed) {
      first_order_ = Random(*options_.shuffle_seed).permutation(dataset_->size());
      first_order_.resize(static_cast<size_t>(samples_));
    }
    order_ = first_order_;
  }
  ~Loader() override { stop(); }

  int64_t samples() const override { return samples_; }
  int64_t classes() const override { return dataset_->classes(); }
  std::string description() const override { return options_.description; }
  void start(std::span<Slot> slots) override;
  const Slot* next() override;
  bool reorder(std::optional<uint64_t> seed) override;
  void stop() noexcept override;

 private:
  struct Chunk {
    int64_t begin = 0, end = 0;  // samples of one batch
  };
  void work() noexcept;
  // The next samples to decode; empty when the pass is over. Waits while all slots are full. Needs the lock.
  Chunk claim(std::unique_lock<std::mutex>& lock);
  // The first sample in [begin, end) that could not be decoded, or end.
  int64_t decode(const Chunk& chunk, std::exception_ptr& error) const noexcept;
  Slot& slot_of(int64_t batch) const { return slots_[static_cast<size_t>(batch) % slots_.size()]; }
  int64_t batch_end(int64_t batch) const { return std::min((batch + 1) * capacity_, samples_); }

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  int64_t samples_ = 0;
  std::vector<int64_t> first_order_;  // data index of each sample; empty = the data's order
  std::vector<int64_t> order_;        // the same for the next pass

  // Fixed from start() to stop().
  std::span<Slot> slots_;
  int64_t capacity_ = 0;
  int64_t chunk_ = 0;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable room_;        // for workers: a slot came back, or stop()
  std::condition_variable filled_;      // for next(): a chunk is done
  std::atomic<bool> stopping_ = false;  // set under mutex_, read between samples without it
  // Guarded by mutex_.
  int64_t next_sample_ = 0;       // the first that no thread has taken
  int64_t in_flight_ = 0;         // chunks taken and not done
  int64_t delivered_ = 0;         // batches that next() has returned
  int64_t returned_ = 0;          // batches whose slots are free again: delivered_, minus the one in use
  std::vector<int64_t> missing_;  // [slots] samples of the slot's batch that are not decoded yet
  int64_t failed_sample_ = 0;     // the lowest known to have failed; samples_ if none
  std::exception_ptr error_;      // its error
};

void Loader::start(std::span<Slot> slots) {
  stop();
  ELEK_CHECK(!slots.empty(), "a loader needs a slot");
  for (const Slot& slot : slots) {
    ELEK_CHECK(
        slot.pixels != nullptr && slot.capacity > 0 && slot.capacity == slots[0].capacity && slot.shape == slots[0].shape,
        "slots of one capacity and shape, found " + std::to_string(slot.capacity) + " of " + to_string(slot.shape));
  }
  slots_ = slots;
  capacity_ = slots[0].capacity;
  // Small enough that all threads share a batch; large enough that the lock costs little beside copying 28x28 pixels.
  chunk_ = std::clamp<int64_t>(capacity_ / (4 * options_.threads), 1, 16);
  stopping_ = false;
  next_sample_ = in_flight_ = delivered_ = returned_ = 0;
  missing_.assign(slots.size(), 0);
  failed_sample_ = samples_;
  error_ = nullptr;
  for (int64_t batch = 0; batch < static_cast<int64_t>(slots.size()); ++batch) {
    missing_[static_cast<size_t>(batch)] = std::max<int64_t>(0, batch_end(batch) - batch * capacity_);
  }
  threads_.reserve(static_cast<size_t>(options_.threads));
  for (int i = 0; i < options_.threads; ++i) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      if (!threads_.empty()) break;  // fewer threads decode all samples too
      throw OutOfMemory("no thread can be started to load the data (" + error.code().message() +
                            "): the limit of memory or of processes is reached",
                        {});
    }
  }
}

const Slot* Loader::next() {
  std::unique_lock<std::mutex> lock(mutex_);
  ELEK_CHECK(!slots_.empty(), "next() needs start() first");
  if (returned_ < delivered_) {
    // The slot returned before goes back. It takes a later batch: as many batches later as there are slots.
    const int64_t batch = returned_ + static_cast<int64_t>(slots_.size());
    missing_[static_cast<size_t>(returned_) % slots_.size()] = std::max<int64_t>(0, batch_end(batch) - batch * capacity_);
    ++returned_;
    room_.notify_all();
  }
  const int64_t batch = delivered_;
  if (batch * capacity_ >= samples_) return nullptr;
  const int64_t& missing = missing_[static_cast<size_t>(batch) % slots_.size()];
  // After an error, earlier samples may still fail. The lowest failed sample is known when nothing is in flight.
  const auto settled = [&] { return missing == 0 || (failed_sample_ < batch_end(batch) && in_flight_ == 0); };
  while (!settled()) {
    throw_if_interrupted();
    filled_.wait_for(lock, std::chrono::milliseconds(50));  // not wait(): a signal sets a flag and wakes nobody
  }
  if (failed_sample_ < batch_end(batch)) std::rethrow_exception(error_);
  Slot& slot = slot_of(batch);
  slot.count = batch_end(batch) - batch * capacity_;
  ++delivered_;
  return &slot;
}

bool Loader::reorder(std::optional<uint64_t> seed) {
  stop();
  order_ = first_order_;
  if (!seed) return true;
  const std::vector<int64_t> places = Random(*seed).permutation(samples_);
  order_.resize(places.size());
  for (size_t i = 0; i < places.size(); ++i) {
    order_[i] = first_order_.empty() ? places[i] : first_order_[static_cast<size_t>(places[i])];
  }
  return true;
}

void Loader::stop() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    room_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  slots_ = {};
}

void Loader::work() noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  for (Chunk chunk = claim(lock); chunk.begin < chunk.end; chunk = claim(lock)) {
    ++in_flight_;
    lock.unlock();
    std::exception_ptr error;
    const int64_t failed = decode(chunk, error);
    lock.lock();
    --in_flight_;
    // Which thread fails first is chance; the lowest failed sample is not.
    if (error && failed < failed_sample_) {
      failed_sample_ = failed;
      error_ = error;
    }
    missing_[static_cast<size_t>(chunk.begin / capacity_) % slots_.size()] -= failed - chunk.begin;
    filled_.notify_one();
  }
}

Loader::Chunk Loader::claim(std::unique_lock<std::mutex>& lock) {
  const auto over = [this] { return stopping_ || next_sample_ >= failed_sample_; };  // failed_sample_ is samples_ without one
  const auto has_room = [this] { return next_sample_ / capacity_ < returned_ + static_cast<int64_t>(slots_.size()); };
  room_.wait(lock, [&] { return over() || has_room(); });
  if (over()) return {};
  const int64_t begin = next_sample_;
  next_sample_ = std::min(begin + chunk_, batch_end(begin / capacity_));
  return {begin, next_sample_};
}

int64_t Loader::decode(const Chunk& chunk, std::exception_ptr& error) const noexcept {
  const Slot& slot = slot_of(chunk.begin / capacity_);
  const size_t elems = static_cast<size_t>(slot.shape.elements());
  for (int64_t sample = chunk.begin; sample < chunk.end; ++sample) {
    if (stopping_) return sample;
    const int64_t index = order_.empty() ? sample : order_[static_cast<size_t>(sample)];
    const size_t place = static_cast<size_t>(sample % capacity_);
    try {
      dataset_->decode(index, slot.shape, {slot.pixels + place * elems, elems});
      if (slot.labels != nullptr) slot.labels[place] = dataset_->label(index);
    } catch (...) {
      error = std::current_exception();
      return sample;
    }
  }
  return chunk.end;
}

}  // namespace

std::unique_ptr<BatchSource> make_loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) {
  return std::make_unique<Loader>(std::move(dataset), std::move(options));
}

}  // namespace elek
