// SPDX-License-Identifier: Apache-2.0
#include "engine/footprint.h"

#include <optional>
#include <utility>

#include "core/error.h"
#include "engine/tensor_room.h"

namespace elek {
namespace {

bool takes(const SessionEstimate& session, const TensorPool& pool, size_t limit_bytes) {
  try {
    return TensorRoom(pool.loaded, limit_bytes, pool.options(limit_bytes)).takes(session);
  } catch (const OutOfMemory&) {
    return false;  // not even the model
  }
}

/// Halving: a limit that suffices is known, and one that does not.
size_t least_limit(const SessionEstimate& session, const TensorPool& pool) {
  size_t too_small = 0, enough = size_t{1} << 20;
  while (!takes(session, pool, enough)) {
    too_small = enough;
    enough *= 2;
  }
  while (enough - too_small > 1) {
    const size_t middle = too_small + (enough - too_small) / 2;
    (takes(session, pool, middle) ? enough : too_small) = middle;
  }
  return enough;
}

/// What a session tries, in this order: its own micro-batches, then half of them, and half again; then kernels of less and less
/// workspace. `visit` ends the walk by returning true.
template <typename Visit>
void for_each_attempt(const Model& model, const SessionOptions& options, const Visit& visit) {
  SessionOptions tried = options;
  size_t most_workspace = kNoLimit;
  for (;;) {
    SessionEstimate session = estimate_memory(model, tried, most_workspace);
    const int64_t micro_batch = session.program.micro_batch;
    const bool may_divide = options.micro_batch == 0 && micro_batch > 1;
    const bool may_limit = session.next_workspace_bytes.has_value();
    const size_t less = session.next_workspace_bytes.value_or(0);
    if (visit(std::move(session))) return;
    if (may_divide) {
      tried.micro_batch = micro_batch / 2;
    } else if (may_limit) {
      most_workspace = less;
    } else {
      return;
    }
  }
}

}  // namespace

Footprint footprint(const Model& model, const SessionOptions& options, const TensorPool& pool, size_t limit_bytes) {
  Footprint made;
  made.fits = false;
  made.least_limit_bytes = kNoLimit;
  std::optional<SessionEstimate> smallest;
  for_each_attempt(model, options, [&](SessionEstimate session) {
    const size_t least = least_limit(session, pool);
    if (least < made.least_limit_bytes) {
      made.least_limit_bytes = least;
      smallest = session;
    }
    if (!made.fits && takes(session, pool, limit_bytes)) {
      made.fits = true;
      made.session = std::move(session);
    }
    return false;
  });
  if (!made.fits) made.session = *std::move(smallest);
  TensorRoom room(pool.loaded, kNoLimit, pool.options(limit_bytes));
  made.model_bytes = room.live_bytes();
  if (!made.fits) return made;
  const TensorRoom::Bound bound = room.bind(model, made.session);
  made.running_bytes = bound.running_bytes;
  made.binding_bytes = bound.packing_bytes;
  return made;
}

std::vector<Tracker::Event> loading_events(const Graph& graph) {
  std::vector<Tracker::Event> events;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    events.push_back({true, static_cast<size_t>(spec.shape.elements()) * sizeof(float),
                      static_cast<uint64_t>(events.size() + 1), spec.name});
  }
  return events;
}

}  // namespace elek
