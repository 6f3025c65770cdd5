// SPDX-License-Identifier: Apache-2.0
// A session trims its memory before each attempt, so all attempts start from the same pool, and the smallest micro-batches
// decide whether a batch fits.
#include "engine/largest_batch.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "engine/tensor_room.h"

namespace elek {
namespace {

size_t at_rest(const SessionEstimate& session) {
  const SessionMemory& m = session.memory;
  return m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes;
}

[[noreturn]] void refuse(const SessionEstimate& one, size_t limit_bytes) {
  const SessionMemory& m = one.memory;
  throw OutOfMemory("not even one sample fits (plan: weights " + bytes_text(m.weights_bytes) + ", arena " +
                        bytes_text(m.arena_bytes) + ", staging " + bytes_text(m.staging_bytes) + ", packing " +
                        bytes_text(one.packing_bytes) + ", in addition to the model's own)",
                    {.requested_bytes = at_rest(one), .limit_bytes = limit_bytes});
}

}  // namespace

LargestBatch largest_batch(const Model& model, const SessionOptions& options, std::span<const Tracker::Event> loaded,
                           size_t limit_bytes, const PoolOptions& pool) {
  TensorRoom room(loaded, limit_bytes, pool);
  const auto limited = [&](int64_t batch, int64_t micro_batch, size_t most_workspace) {
    SessionOptions tried = options;
    tried.batch = batch;
    tried.micro_batch = micro_batch;
    return estimate_memory(model, tried, most_workspace);
  };
  const auto estimate = [&](int64_t batch, int64_t micro_batch) { return limited(batch, micro_batch, SIZE_MAX); };
  const int64_t smallest = options.micro_batch > 0 ? options.micro_batch : 1;
  // What a session tries last: the smallest micro-batches, with kernels of less and less workspace.
  const auto fits = [&](SessionEstimate& session) {
    const int64_t batch = session.program.batch;
    for (size_t most_workspace = SIZE_MAX; !room.takes(session);) {
      const auto less = session.next_workspace_bytes;
      if (!less) return false;
      most_workspace = *less;
      session = limited(batch, smallest, most_workspace);
    }
    return true;
  };
  SessionEstimate one = estimate(1, smallest);
  if (!fits(one)) refuse(one, limit_bytes);
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
    SessionEstimate session = estimate(next, smallest);
    const bool good_too = fits(session);
    (good_too ? good : bad) = next;
    next = bad - good <= step ? good + (bad - good) / 2 : good_too ? good + step : bad - step;
    step *= 2;
  }
  for (int64_t tried = options.micro_batch;;) {  // like a session: first its own choice, then half of it
    SessionEstimate session = estimate(good, tried);
    const int64_t taken = session.program.micro_batch;
    const bool last = taken <= smallest;
    if (last) (void)fits(session);  // it does: that is how `good` was found
    if (last || room.takes(session)) return {good, taken, std::move(session)};
    tried = taken / 2;
  }
}

}  // namespace elek
