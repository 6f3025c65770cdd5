// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor_room.h"

#include <algorithm>

#include "core/error.h"

namespace elek {
namespace {

enum Slab : uint64_t { kWeights, kArena, kStatistics, kStaging };

}  // namespace

TensorRoom::TensorRoom(std::span<const Tracker::Event> loaded, size_t limit_bytes, const PoolOptions& pool)
    : limit_(host_, limit_bytes), pool_(limit_, pool) {
  try {
    for (const Tracker::Event& event : loaded) {
      event.allocation ? hold(loaded_, event.block, event.bytes, event.label) : give_back(loaded_, event.block);
    }
  } catch (const OutOfMemory&) {
    give_back(loaded_);  // no destructor runs, and a pool warns if blocks are left
    throw;
  }
}

TensorRoom::~TensorRoom() { give_back(loaded_); }

void TensorRoom::hold(Blocks& blocks, uint64_t key, size_t bytes, const std::string& label) {
  const Held held{pool_.allocate(bytes, label), bytes, label};
  blocks[key] = held;
  const auto* const begin = static_cast<const std::byte*>(held.block);
  for (const std::span<const std::byte> segment : pool_.segments()) {
    if (begin < segment.data() || begin >= segment.data() + segment.size()) continue;
    size_t& written = written_[segment.data()];
    written = std::max(written, static_cast<size_t>(begin - segment.data()) + bytes);
  }
}

size_t TensorRoom::written_bytes() const {
  size_t sum = 0;
  for (const std::span<const std::byte> segment : pool_.segments()) {
    const auto found = written_.find(segment.data());  // addresses are never given out twice
    sum += found == written_.end() ? 0 : found->second;
  }
  return sum;
}

void TensorRoom::give_back(Blocks& blocks, uint64_t key) {
  const auto found = blocks.find(key);
  if (found == blocks.end()) return;  // allocated before the recording
  pool_.deallocate(found->second.block, found->second.bytes);
  blocks.erase(found);
}

void TensorRoom::give_back(Blocks& blocks) {
  while (!blocks.empty()) give_back(blocks, blocks.begin()->first);
}

void TensorRoom::hold_slabs(Blocks& blocks, const SessionEstimate& session) {
  const SessionMemory& m = session.memory;
  (void)pool_.trim();
  try {
    hold(blocks, kWeights, m.weights_bytes, "weights");
    hold(blocks, kArena, std::max(m.arena_bytes, session.packing_bytes), "arena");
    hold(blocks, kStatistics, m.statistics_bytes, "statistics");
    hold(blocks, kStaging, m.staging_bytes, "staging");
  } catch (const OutOfMemory&) {
    give_back(blocks);
    throw;
  }
}

bool TensorRoom::takes(const SessionEstimate& session) {
  Blocks blocks;
  bool fits = true;
  try {
    hold_slabs(blocks, session);
    give_back(blocks, kArena);
    hold(blocks, kArena, session.memory.arena_bytes, "arena");
  } catch (const OutOfMemory&) {
    fits = false;
  }
  give_back(blocks);
  return fits;
}

TensorRoom::Bound TensorRoom::bind(const Model& model, const SessionEstimate& session) {
  std::map<std::string, size_t> parameters;  // their bytes, by name
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    parameters[spec.name] = static_cast<size_t>(spec.shape.elements()) * sizeof(float);
  }
  Blocks blocks;
  hold_slabs(blocks, session);
  const SessionMemory& m = session.memory;
  const size_t packing_block = std::max(m.arena_bytes, session.packing_bytes);
  size_t packed = 0, unpacked = 0;  // written bytes of the weights, and of the block in which they are prepared
  Bound bound;
  for (const ProgramStep& step : session.program.steps) {
    const std::string name = step.node.node.name + ".weight";
    const auto weight = parameters.find(name);
    if (step.weights_bytes == 0 || weight == parameters.end()) continue;
    packed += step.weights_bytes;
    unpacked = std::max(unpacked, std::min(packing_block, weight->second));
    const size_t never_written =
        (m.weights_bytes - std::min(m.weights_bytes, packed)) + (packing_block - unpacked) + m.staging_bytes;
    const size_t written = written_bytes();
    bound.packing_bytes = std::max(bound.packing_bytes, written - std::min(written, never_written));
    const auto block =
        std::find_if(loaded_.begin(), loaded_.end(), [&](const auto& held) { return held.second.label == name; });
    if (block != loaded_.end()) give_back(loaded_, block->first);
  }
  std::erase_if(loaded_, [&](const auto& held) {
    const bool gone = parameters.contains(held.second.label);
    if (gone) pool_.deallocate(held.second.block, held.second.bytes);
    return gone;
  });
  if (session.packing_bytes > 0) {
    give_back(blocks, kArena);
    try {
      hold(blocks, kArena, m.arena_bytes, "arena");
    } catch (const OutOfMemory&) {
      give_back(blocks);
      throw;
    }
  }
  (void)pool_.trim();
  bound.running_bytes = written_bytes();
  give_back(blocks);
  return bound;
}

}  // namespace elek
