// SPDX-License-Identifier: Apache-2.0
// Simulated streams on the host. Work runs without the lock, because it may enqueue more work.
// Tests: tests/contract/pool_test.cpp
#include <new>

#include "core/memory/queued_streams.h"
#include "elek/memory.h"

namespace elek {

StreamOrder& host_order() {
  static HostOrder& order = *new HostOrder;  // never destroyed: pools of static lifetime may outlive main
  return order;
}

void QueuedStreams::enqueue(Stream stream, std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  Queue& queue = queues_[stream.handle];
  queue.work.push_back(std::move(work));
  ++queue.enqueued;
}

bool QueuedStreams::run_next(Stream stream) {
  std::function<void()> work;
  {
    const std::lock_guard lock(mutex_);
    Queue& queue = queues_[stream.handle];
    if (queue.work.empty()) return false;
    work = std::move(queue.work.front());
    queue.work.pop_front();
  }
  work();
  const std::lock_guard lock(mutex_);
  ++queues_[stream.handle].done;  // only after the work: a mark set after it must not pass while it runs
  return true;
}

void QueuedStreams::drain(Stream stream) {
  while (run_next(stream)) {
  }
}

void QueuedStreams::drain_all() {
  std::vector<void*> handles;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [handle, queue] : queues_) handles.push_back(handle);
  }
  for (void* handle : handles) drain({handle});
}

int64_t QueuedStreams::marks_alive() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(marks_.size());
}

StreamOrder::Mark QueuedStreams::mark(Stream stream) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    const Queue& queue = queues_[stream.handle];
    if (queue.done == queue.enqueued) return kPassed;
    marks_[last_mark_ + 1] = {stream.handle, queue.enqueued};
    return ++last_mark_;
  } catch (const std::bad_alloc&) {
    drain(stream);
    return kPassed;
  }
}

bool QueuedStreams::passed(Mark mark) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = marks_.find(mark);
  if (found == marks_.end()) return true;
  const auto queue = queues_.find(found->second.stream);
  return queue == queues_.end() || queue->second.done >= found->second.position;
}

void QueuedStreams::wait(Mark mark) noexcept {
  while (!passed(mark)) {
    Stream stream;
    {
      const std::lock_guard lock(mutex_);
      stream.handle = marks_[mark].stream;
    }
    (void)run_next(stream);
  }
}

void QueuedStreams::forget(Mark mark) noexcept {
  const std::lock_guard lock(mutex_);
  marks_.erase(mark);
}

}  // namespace elek
