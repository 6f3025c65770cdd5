// SPDX-License-Identifier: Apache-2.0
// Keeps the activations of one or more networks of one graph at one value, for all images, so that a pass need not start from
// the images. The value is narrow: everything later depends on it alone (a block's input, for example). A pass runs only the
// part from there to the values asked for. The kept activations move forward in place, in one allocation per network. If
// nothing is kept, each pass starts from the images: same results, more work, less memory.
// Tests: tests/prune/trail_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/prune.h"
#include "elek/session.h"

namespace elek {

/// The narrow values, in order: all later nodes depend on earlier ones only through them. They include the input and the
/// output.
[[nodiscard]] std::vector<ValueId> narrow_values(const Graph& graph);

/// The part of a network between two values. Its input has `from`'s shape and name (-1: the model's own input, images); `to`
/// becomes its output. Tensors are shared; those of other layers are left out, and so are scales. ContractError if `from` is
/// not narrow.
[[nodiscard]] Model part_of(const Model& model, ValueId from, ValueId to);

/// [node]: whether `to` is computed from it, after `from`.
[[nodiscard]] std::vector<bool> needed_nodes(const Graph& graph, ValueId from, ValueId to);

/// MACs of one sample from value `from` (-1: the images) to value `to`.
[[nodiscard]] int64_t macs_between(const Graph& graph, ValueId from, ValueId to);

/// The value from which a pass starts the parts that compute several values of one network: the last narrow one that none of
/// them precedes. `from` (where the pass itself starts) if there is no later one, or if the device cannot start from values.
[[nodiscard]] ValueId common_start(const Graph& graph, ValueId from, std::span<const ValueId> values, const Device& device);

[[nodiscard]] KeptValues plan_kept_values(const std::vector<const Graph*>& graphs, std::span<const ValueId> inputs,
                                          int64_t samples, size_t bytes);

/// A value that a pass computes of one network.
struct PassOutput {
  const Model* model = nullptr;
  size_t network = 0;  // index of the kept activations to start from
  ValueId to = -1;
};

/// No value that a pass computes is larger than this per batch (unless a single sample is), whatever the images' size.
inline constexpr int64_t kTrailBatchBytes = int64_t{32} << 20;

/// A part with quantised layers runs in int8, others in the precision of the options.
class Trail {
 public:
  /// `capacity[i]`: floats per image that network i may keep; empty or 0: nothing is kept. All of it is allocated here, for
  /// images.samples() images. `options` as for a session, used for all networks.
  Trail(BatchSource& images, SessionOptions options, std::span<const int64_t> capacity, MemoryResource& resource);

  /// The kept value; -1 while passes start from the images.
  [[nodiscard]] ValueId at() const noexcept { return at_; }

  /// One pass: calls visit(samples, values) for each batch. values[i] is outputs[i] for these samples, [samples, C, H, W],
  /// row-major, valid until visit returns. What several outputs of one network have in common (common_start()) is computed
  /// once; outputs of one network must be of one model. Returns the number of samples. Throws Interrupted if the user asks to
  /// stop. The source is always stopped at the end.
  using Visit = std::function<void(int64_t samples, std::span<const std::span<const float>> values)>;
  int64_t pass(std::span<const PassOutput> outputs, const Visit& visit);

  /// Runs every network (in the order of `capacity`) once; then `to` is the kept value. ContractError if it does not fit.
  void advance(std::span<const Model* const> models, ValueId to);

 private:
  struct Batch {
    int64_t first = 0;
    int64_t samples = 0;
    const Slot* slot = nullptr;  // null: starts from the kept activations
  };
  /// The part of one network that several outputs of a pass start from.
  struct Start {
    const Model* model = nullptr;
    ValueId value = -1;
    std::unique_ptr<Session> session;
    std::span<const float> values;  // of this batch
  };
  void each_batch(int64_t size, Session* first, bool backwards, const std::function<void(const Batch&)>& f);
  [[nodiscard]] std::unique_ptr<Session> session(const Model& model, ValueId from, ValueId to, int64_t batch) const;
  [[nodiscard]] std::map<size_t, Start> starts_of(std::span<const PassOutput> outputs) const;
  [[nodiscard]] std::span<const float> run(Session& session, size_t network, const Batch& batch) const;
  [[nodiscard]] float* kept(size_t network) const { return static_cast<float*>(kept_[network].data()); }

  BatchSource& images_;
  SessionOptions options_;
  ValueId at_ = -1;
  int64_t samples_ = 0;
  std::vector<Buffer> kept_;
  std::vector<int64_t> capacity_;
  std::vector<int64_t> each_;  // [network]: floats per image that are kept now
};

}  // namespace elek
