// SPDX-License-Identifier: Apache-2.0
// What a session needs of a process, foretold: of its tensor memory while it is bound and while it runs, and the smallest limit
// under which both fit. Nothing is allocated, and nothing runs. `elek memory` prints it, and refusals quote it.
// Tests: tests/golden/footprint_test.cpp, tests/cli/memory_account_test.cpp
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "elek/memory.h"
#include "engine/estimate.h"

namespace elek {

/// The memory in which the session will lie: what loading left there, and the pool's options under a limit of so many bytes.
struct TensorPool {
  std::span<const Tracker::Event> loaded;
  std::function<PoolOptions(size_t limit_bytes)> options;
};

inline constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

struct Footprint {
  SessionEstimate session;       // under the limit: with the micro-batches that a session would choose
  bool fits = true;              // under the limit
  size_t model_bytes = 0;        // what loading left: the parameters as read
  size_t running_bytes = 0;      // written tensor memory while the session runs, with the pool's; 0 if it does not fit
  size_t binding_bytes = 0;      // written tensor memory at most while weights are packed; 0 if it does not fit
  size_t least_limit_bytes = 0;  // the smallest limit under which a session of this batch can be bound
};
/// `model` needs no parameters, and the session is the only one that holds it (each layer's weights are freed once they are
/// packed). Errors as estimate_memory's. Takes a plan for each size of micro-batch that is tried.
[[nodiscard]] Footprint footprint(const Model& model, const SessionOptions& options, const TensorPool& pool,
                                  size_t limit_bytes = kNoLimit);

/// What loading a model of this graph leaves in memory, for a network that is not in a file.
[[nodiscard]] std::vector<Tracker::Event> loading_events(const Graph& graph);

}  // namespace elek
