// SPDX-License-Identifier: Apache-2.0
// A session trims its memory before each attempt, so all attempts start from the same pool, and the smallest micro-batches
// decide whether a batch fits.
#include "engine/largest_batch.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/error.h"
#include "core/memory/phantom.h"

namespace elek {
namespace {

/// Blocks of a pool, given back at the end, because a pool warns if blocks are left.
class Holder {
 public:
  explicit Holder(Pool& pool) : pool_(pool) {}
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    for (const auto& [key, held] : blocks_) pool_.deallocate(held.block, held.bytes);
  }
  void hold(uint64_t key, size_t bytes, const std::string& label) { blocks_[key] = {pool_.allocate(bytes, label), bytes}; }
  void give_back(uint64_t key) {
    const auto found = blocks_.find(key);
    if (found == blocks_.end()) return;  // allocated before the recording
    pool_.deallocate(found->second.block, found->second.bytes);
    blocks_.erase(found);
  }

 private:
  struct Held {
    void* block = nullptr;
    size_t bytes = 0;
  };
  Pool& pool_;
  std::map<uint64_t, Held> blocks_;
};

/// The pool after loading.
class Room {
 public:
  /// OutOfMemory if even loading does not fit.
  Room(std::span<const Tracker::Event> loaded, size_t limit_bytes, const PoolOptions& pool)
      : limit_(host_, limit_bytes), pool_(limit_, pool), loaded_(pool_) {
    for (const Tracker::Event& event : loaded) {
      event.allocation ? loaded_.hold(event.block, event.bytes, event.label) : loaded_.give_back(event.block);
    }
  }
  [[nodiscard]] bool takes(const SessionEstimate& session) {
    (void)pool_.trim();
    const SessionMemory& m = session.memory;
    Holder blocks(pool_);
    try {
      blocks.hold(1, m.weights_bytes, "weights");
      blocks.hold(2, std::max(m.arena_bytes, session.packing_bytes), "arena");
      blocks.hold(3, m.statistics_bytes, "statistics");
      blocks.hold(4, m.staging_bytes, "staging");
      blocks.give_back(2);
      blocks.hold(2, m.arena_bytes, "arena");
      return true;
    } catch (const OutOfMemory&) {
      return false;
    }
  }
  [[nodiscard]] size_t left_bytes() const { return limit_.limit_bytes() - pool_.figures().used_bytes; }

 private:
  Phantom host_;
  Limit limit_;
  Pool pool_;
  Holder loaded_;
};

size_t at_rest(const SessionEstimate& session) {
  const SessionMemory& m = session.memory;
  return m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes;
}

[[noreturn]] void refuse(const SessionEstimate& one, size_t limit_bytes) {
  const SessionMemory& m = one.memory;
  throw OutOfMemory("not even one sample fits (plan: weights " + std::to_string(m.weights_bytes) + ", arena " +
                        std::to_string(m.arena_bytes) + ", staging " + std::to_string(m.staging_bytes) + ", packing " +
                        std::to_string(one.packing_bytes) + " bytes, in addition to the model's own)",
                    {.requested_bytes = at_rest(one), .limit_bytes = limit_bytes});
}

}  // namespace

LargestBatch largest_batch(const Model& model, const SessionOptions& options, std::span<const Tracker::Event> loaded,
                           size_t limit_bytes, const PoolOptions& pool) {
  Room room(loaded, limit_bytes, pool);
  const auto estimate = [&](int64_t batch, int64_t micro_batch) {
    SessionOptions tried = options;
    tried.batch = batch;
    tried.micro_batch = micro_batch;
    return estimate_memory(model, tried);
  };
  const int64_t smallest = options.micro_batch > 0 ? options.micro_batch : 1;
  const SessionEstimate one = estimate(1, smallest);
  if (!room.takes(one)) refuse(one, limit_bytes);
  // With a fixed micro-batch a larger batch only needs more staging. So the batches that fit are 1 … n. The search for n starts
  // at an estimate from the bytes; steps double until n is passed, then halve. This takes a few plans instead of sixteen.
  const size_t begun = at_rest(smallest == 1 ? one : estimate(smallest, smallest));
  const size_t sample =
      std::max<size_t>(1, (at_rest(estimate(2 * smallest, smallest)) - begun) / static_cast<size_t>(smallest));
  const size_t left = room.left_bytes();
  int64_t good = 1, bad = kMostBatch + 1, step = 1;
  int64_t next = smallest + static_cast<int64_t>((left - std::min(left, begun)) / sample);
  while (bad - good > 1) {
    next = std::clamp(next, good + 1, bad - 1);
    const bool fits = room.takes(estimate(next, smallest));
    (fits ? good : bad) = next;
    next = bad - good <= step ? good + (bad - good) / 2 : fits ? good + step : bad - step;
    step *= 2;
  }
  for (int64_t tried = options.micro_batch;;) {  // like a session: first its own choice, then half of it
    SessionEstimate session = estimate(good, tried);
    const int64_t taken = session.program.micro_batch;
    if (taken <= smallest || room.takes(session)) return {good, taken, std::move(session)};
    tried = taken / 2;
  }
}

}  // namespace elek
