// SPDX-License-Identifier: Apache-2.0
// StreamOrder answers the one question that a pool has about a device: is the work that used a block over? On a device, a block
// is given back while kernels that use it still wait in a stream's queue. The same stream may use it again at once, because its
// later work runs after them. Any other stream must wait until a mark (CUDA: an event) in the first stream's queue has passed.
// HostOrder: a call on the host is over when it returns. QueuedStreams: simulated streams whose work runs when told to, in any
// interleaving. They show and test reuse rules and races without a device.
// Tests: tests/contract/pool_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "core/memory/resource.h"

namespace elek {

/// Thread-safe. A later mark is larger, and marks of one stream pass in the order in which they were made.
class StreamOrder {
 public:
  using Mark = uint64_t;
  static constexpr Mark kPassed = 0;  // nothing to wait for
  StreamOrder() = default;
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;
  virtual ~StreamOrder() = default;
  /// A mark behind everything enqueued on `stream` so far, or kPassed if all of that is over. If no mark can be made, waits for
  /// the stream and returns kPassed.
  [[nodiscard]] virtual Mark mark(Stream stream) noexcept = 0;
  [[nodiscard]] virtual bool passed(Mark mark) noexcept = 0;
  /// Blocks the host until the mark has passed.
  virtual void wait(Mark mark) noexcept = 0;
  /// The caller will not ask for this mark again.
  virtual void forget(Mark mark) noexcept = 0;
};

/// The host's order: work is over when the call returns.
class HostOrder final : public StreamOrder {
 public:
  [[nodiscard]] Mark mark(Stream /*stream*/) noexcept override { return kPassed; }
  [[nodiscard]] bool passed(Mark /*mark*/) noexcept override { return true; }
  void wait(Mark /*mark*/) noexcept override {}
  void forget(Mark /*mark*/) noexcept override {}
};
[[nodiscard]] StreamOrder& host_order();

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
