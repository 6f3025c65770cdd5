// SPDX-License-Identifier: Apache-2.0
// A pool on addresses (core/memory/phantom.h) in which loading and binding are replayed: it needs no memory, and it answers to
// the byte what a real pool under a real limit would answer. A session trims its memory before each attempt, so every attempt
// starts from the same pool. Tests: tests/golden/footprint_test.cpp, tests/golden/largest_batch_test.cpp
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "core/memory/phantom.h"
#include "elek/memory.h"
#include "engine/estimate.h"

namespace elek {

class TensorRoom {
 public:
  /// Replays what loading allocated and gave back. OutOfMemory if even that does not fit under the limit.
  TensorRoom(std::span<const Tracker::Event> loaded, size_t limit_bytes, const PoolOptions& pool);
  TensorRoom(const TensorRoom&) = delete;
  TensorRoom& operator=(const TensorRoom&) = delete;
  ~TensorRoom();

  /// Whether a session's slabs fit, in the order in which binding asks for them. Leaves the pool as it was, but trimmed.
  [[nodiscard]] bool takes(const SessionEstimate& session);
  [[nodiscard]] size_t left_bytes() const { return limit_.limit_bytes() - pool_.figures().used_bytes; }
  [[nodiscard]] size_t live_bytes() const { return pool_.figures().live_bytes; }

  struct Bound {
    size_t running_bytes = 0;  // written by then: by the session's slabs, and earlier by the model in the same segments
    size_t packing_bytes = 0;  // written when most are, while weights are packed
  };
  /// Binds a session to which the loaded model is given away: each layer's weights are dropped when they are packed. Call it
  /// last: the model is gone afterwards. OutOfMemory if the session does not fit.
  [[nodiscard]] Bound bind(const Model& model, const SessionEstimate& session);

 private:
  struct Held {
    void* block = nullptr;
    size_t bytes = 0;
    std::string label;
  };
  using Blocks = std::map<uint64_t, Held>;
  void hold(Blocks& blocks, uint64_t key, size_t bytes, const std::string& label);
  void give_back(Blocks& blocks, uint64_t key);
  void give_back(Blocks& blocks);
  void hold_slabs(Blocks& blocks, const SessionEstimate& session);
  /// Bytes of the pool's segments up to the last that a block has ever reached: the rest has no pages.
  [[nodiscard]] size_t written_bytes() const;

  Phantom host_;
  Limit limit_;
  Pool pool_;
  Blocks loaded_;
  std::map<const std::byte*, size_t> written_;  // by the segment's base
};

}  // namespace elek
