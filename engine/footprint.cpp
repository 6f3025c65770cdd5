// SPDX-License-Identifier: Apache-2.0
#include "engine/footprint.h"

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

}  // namespace

Footprint footprint(const Model& model, const SessionOptions& options, const TensorPool& pool, size_t limit_bytes) {
  const auto estimate = [&](int64_t micro_batch) {
    SessionOptions tried = options;
    tried.micro_batch = micro_batch;
    return estimate_memory(model, tried);
  };
  Footprint made;
  made.session = estimate(options.micro_batch);
  made.fits = takes(made.session, pool, limit_bytes);
  // Like a session: if it may choose, it takes half as many samples, and half again.
  while (!made.fits && options.micro_batch == 0 && made.session.program.micro_batch > 1) {
    made.session = estimate(made.session.program.micro_batch / 2);
    made.fits = takes(made.session, pool, limit_bytes);
  }
  const bool smallest = options.micro_batch > 0 || made.session.program.micro_batch == 1;
  made.least_limit_bytes = least_limit(smallest ? made.session : estimate(1), pool);
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
