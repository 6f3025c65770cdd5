// SPDX-License-Identifier: Apache-2.0
// StreamOrder: the one thing a pool must know about a device: when is work that used a block over? On a device a block is given
// back while kernels that use it still wait in a stream's queue. The same stream may have it again at once, because what it
// enqueues next runs after them; any other stream must wait for a mark (CUDA: an event) in the first stream's queue to pass.
// HostOrder: a call on the host is over when it returns. QueuedStreams: streams whose work runs when told to, in any
// interleaving, so that reuse rules and races are shown and tested without a device.
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

/// Thread-safe. A mark made later is larger, and those of one stream pass in the order in which they were made.
class StreamOrder {
 public:
  using Mark = uint64_t;
  static constexpr Mark kPassed = 0;  // nothing to wait for
  StreamOrder() = default;
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;
  virtual ~StreamOrder() = default;
  /// A mark behind everything enqueued on `stream` so far. kPassed if all of that is over. Where no mark can be made, waits for
  /// the stream and answers kPassed.
  [[nodiscard]] virtual Mark mark(Stream stream) noexcept = 0;
  [[nodiscard]] virtual bool passed(Mark mark) noexcept = 0;
  /// Blocks the host until the mark has passed.
  virtual void wait(Mark mark) noexcept = 0;
  /// Nobody will ask for this mark again.
  virtual void forget(Mark mark) noexcept = 0;
};

/// The host's: all work is over when the call that does it returns.
class HostOrder final : public StreamOrder {
 public:
  [[nodiscard]] Mark mark(Stream /*stream*/) noexcept override { return kPassed; }
  [[nodiscard]] bool passed(Mark /*mark*/) noexcept override { return true; }
  void wait(Mark /*mark*/) noexcept override {}
  void forget(Mark /*mark*/) noexcept override {}
};
[[nodiscard]] StreamOrder& host_order();

/// Streams played on the host: enqueue() notes work down, run_next() and drain() do it. Streams are told apart by their handle.
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
  struct Point {  // a mark: passed once `position` pieces of the stream's work are done
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
