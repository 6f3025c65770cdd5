// SPDX-License-Identifier: Apache-2.0
// Many passes over the same images through parts of one or several networks of one graph, without starting from the images each
// time: a trail keeps every network's activations at one narrow value (one that everything later reads the network through) for
// all images, and each pass runs only what lies between there and the values asked for. What is kept moves forward in place, in
// one allocation a network. With nothing kept, each pass starts from the images: same results, more work, no memory. Tests:
// tests/prune/trail_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/prune.h"
#include "elek/session.h"

namespace elek {

/// Values that all later nodes read all earlier ones through, in order; the input and the output are among them.
[[nodiscard]] std::vector<ValueId> narrow_values(const Graph& graph);

/// The network between two values: an input of `from`'s shape and name (-1: the model's own, images), then what makes `to`,
/// which becomes its answer. Tensors are shared, those of other layers left out. ContractError if `from` is not narrow.
[[nodiscard]] Model part_of(const Model& model, ValueId from, ValueId to);

/// MACs of one sample from value `from` (-1: the images) to value `to`.
[[nodiscard]] int64_t macs_between(const Graph& graph, ValueId from, ValueId to);

[[nodiscard]] KeptValues plan_kept_values(const std::vector<const Graph*>& graphs, std::span<const ValueId> inputs,
                                          int64_t samples, size_t bytes);

/// A value that a pass makes of one network.
struct PassOutput {
  const Model* model = nullptr;
  size_t network = 0;  // index into what is kept
  ValueId to = -1;
};

/// A pass's batches are small enough that none of the values it makes has more bytes (but a single sample's), whatever the
/// images' size.
inline constexpr int64_t kTrailBatchBytes = int64_t{32} << 20;

class Trail {
 public:
  /// `capacity[i]`: floats an image that network i may keep (empty or 0: nothing is kept). All of it is allocated here, for
  /// images.samples() images. `options` as for a session; all networks run with them.
  Trail(BatchSource& images, SessionOptions options, std::span<const int64_t> capacity, MemoryResource& resource);

  /// The value that is kept; -1 while passes start from the images.
  [[nodiscard]] ValueId at() const noexcept { return at_; }

  /// One pass: visit(samples, values) for each batch, values[i] = outputs[i]'s value of these samples, [samples, C, H, W],
  /// row-major, valid until it returns. Returns the samples. Throws Interrupted when asked to; the source is stopped in any
  /// case.
  using Visit = std::function<void(int64_t samples, std::span<const std::span<const float>> values)>;
  int64_t pass(std::span<const PassOutput> outputs, const Visit& visit);

  /// One pass over every network (in the order of `capacity`) after which `to` is kept. ContractError if it does not fit.
  void advance(std::span<const Model* const> models, ValueId to);

 private:
  struct Batch {
    int64_t first = 0;
    int64_t samples = 0;
    const Slot* slot = nullptr;  // null: from what is kept
  };
  void each_batch(int64_t size, Session* first, bool backwards, const std::function<void(const Batch&)>& f);
  [[nodiscard]] std::unique_ptr<Session> session(const Model& model, ValueId to, int64_t batch) const;
  [[nodiscard]] std::span<const float> run(Session& session, size_t network, const Batch& batch) const;
  [[nodiscard]] float* kept(size_t network) const { return static_cast<float*>(kept_[network].data()); }

  BatchSource& images_;
  SessionOptions options_;
  ValueId at_ = -1;
  int64_t samples_ = 0;
  std::vector<Buffer> kept_;
  std::vector<int64_t> capacity_;
  std::vector<int64_t> each_;  // floats an image now kept of each network
};

}  // namespace elek
