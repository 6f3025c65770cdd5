// SPDX-License-Identifier: Apache-2.0
// QueuedStreams (declared in elek/memory.h): simulated streams. Their work runs when the caller asks for it, in any order
// between streams, so that a pool's rules for reuse can be tested without a device. Tests: tests/contract/pool_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "elek/memory.h"

namespace elek {

/// Simulated streams on the host: enqueue() stores work, run_next() and drain() run it. A stream is identified by its handle.
class QueuedStreams final : public StreamOrder {
 public:
  void enqueue(Stream stream, std::function<void()> work);
  bool run_next(Stream stream);  // false if nothing waits there
  void drain(Stream stream);
  void drain_all();
  [[nodiscard]] int64_t marks_alive() const;  // made and not forgotten

  [[nodiscard]] Mark mark(Stream stream) noexcept override;
  [[nodiscard]] bool passed(Mark mark) noexcept override;
  void wait(Mark mark) noexcept override;
  void forget(Mark mark) noexcept override;

 private:
  struct Point {  // a mark: passed when `position` pieces of the stream's work are done
    void* stream = nullptr;
    uint64_t position = 0;
  };
  struct Queue {
    std::deque<std::function<void()>> work;
    uint64_t enqueued = 0;
    uint64_t done = 0;
  };
  mutable std::mutex mutex_;
  std::map<void*, Queue> queues_;
  std::map<Mark, Point> marks_;
  Mark last_mark_ = kPassed;
};

}  // namespace elek
