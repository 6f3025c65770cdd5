// SPDX-License-Identifier: Apache-2.0
// Binding: allocates the four slabs, then packs the parameters into the weights slab, layer by layer. Packing uses the arena's
// memory, because nothing runs yet. All slabs are allocated first, so that each layer's weights can be dropped from the model
// as soon as they are packed. If the caller gave the model away, a network is never in memory twice.
// Tests: tests/golden/session_test.cpp, tests/golden/plan_bound_test.cpp
#include <algorithm>

#include "backends/cpu/executable.h"
#include "backends/parameters.h"
#include "core/error.h"
#include "graph/integer_values.h"
#include "kernels/cpu/preprocess.h"

namespace elek::backends::cpu {
namespace {

/// Memory for packing: one block that every layer uses again. So exactly the bytes computed beforehand
/// (BoundMemory::packing_bytes) are asked of the memory, whatever pool lies below.
class PackingRoom final : public MemoryResource {
 public:
  PackingRoom(const Buffer& block, Device device) : block_(block), device_(device) {}
  [[nodiscard]] Device device() const noexcept override { return device_; }
  void empty() noexcept { used_ = 0; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) override {
    const size_t offset = reserve(used_, bytes);
    ELEK_CHECK(used_ <= block_.bytes(), "packing '" + std::string(label.name) + "' needs " + std::to_string(used_) +
                                            " bytes, planned were " + std::to_string(block_.bytes()));
    return static_cast<std::byte*>(block_.data()) + offset;
  }
  void do_deallocate(void* /*block*/, size_t /*bytes*/, Stream /*stream*/) noexcept override {}

  const Buffer& block_;
  Device device_;
  size_t used_ = 0;
};

}  // namespace

CpuExecutable::CpuExecutable(Program program, Notes notes, Model& model, const MemoryPlan& plan, MemoryResource& memory)
    : program_(std::move(program)), notes_(std::move(notes)), plan_(plan) {
  weights_ = Buffer(notes_.weights_bytes, memory, {"weights", Use::kWeights});
  // Packing uses the arena's memory, or a larger block that the arena then replaces.
  const bool roomy = plan_.arena_bytes >= notes_.packing_bytes;
  arena_ = roomy ? Buffer(plan_.arena_bytes, memory, {"arena", Use::kActivations})
                 : Buffer(notes_.packing_bytes, memory, {"packing", Use::kWorkspace});
  statistics_ = Buffer(notes_.statistics_bytes, memory, {"statistics", Use::kStatistics});
  const HostStaging staging(program_, notes_);
  staging_ = Buffer(staging.bytes(), memory, {"staging", Use::kStaging});
  slots_ = staging.slots(at(staging_, 0));
  output_ = staging.output(at(staging_, 0));
  load_weights(model, memory.device());
  if (!roomy) {
    arena_ = Buffer();
    arena_ = Buffer(plan_.arena_bytes, memory, {"arena", Use::kActivations});
  }
  lay_out_statistics();
  reset_statistics();
}

void CpuExecutable::lay_out_statistics() {
  for (const Watched& w : notes_.watched) {
    const ProgramTensor& t = program_.tensors[static_cast<size_t>(w.tensor)];
    sums_.push_back(kernels::cpu::ChannelSums::lay_out(at(statistics_, w.offset), t.shape.channels, lanes_of(t), w.sums,
                                                       notes_.options.probes.threshold, notes_.threads));
  }
}

void CpuExecutable::load_weights(Model& model, Device device) {
  const int64_t channels = notes_.input_shape.channels;
  const Preprocessing& p = model.preprocessing;
  check_preprocessing(p, channels);
  kernels::fill_preprocess_table(channels, p.mean.data(), p.stddev.data(), floats_at(weights_, notes_.table_offset));
  PackingRoom room(arena_, device);
  for (size_t i = 0; i < notes_.steps.size(); ++i) {
    const Step& step = notes_.steps[i];
    room.empty();
    if (step.kernel) {
      const FusedNode& node = program_.steps[i].node;
      load_kernel(model, step, node, room);
      model.parameters.erase(node.node.name + ".weight");
    }
    if (step.scale != kNone) load_normalisation(model, step);
  }
  for (const WatchedMoments& m : notes_.batch_moments) moment_parameters(model, m, at(weights_, m.parameters));
}

void CpuExecutable::load_kernel(const Model& model, const Step& step, const FusedNode& node, MemoryResource& memory) {
  const ConvWeights w = conv_weights(model, node, notes_.options.batch_norm, memory);
  const ProgramTensor& x = program_.tensors[static_cast<size_t>(step.input)];
  const ProgramTensor& y = program_.tensors[static_cast<size_t>(step.output)];
  check_weights(w.weight, node, x.shape, y.shape);
  const Buffer staged(step.kernel->staged_bytes(), memory, {"packing", Use::kWorkspace});
  if (step.algorithm == ConvAlgorithm::kInt8) {
    const std::vector<float>& scales = model.quantization.layers.at(node.node.name);
    const std::span<int8_t> integers(static_cast<int8_t*>(staged.data()), staged.bytes());
    to_integers(node.node.name, w.weight.f32(), scales, integers);
    step.kernel->pack(integers, scales, at(weights_, step.weights));
  } else {
    step.kernel->pack(w.weight.f32().data(), static_cast<float*>(staged.data()), at(weights_, step.weights));
  }
  float* bias = floats_at(weights_, step.bias);
  std::fill_n(bias, lanes_of(y), 0.0F);
  std::copy(w.bias.f32().begin(), w.bias.f32().end(), bias);
}

void CpuExecutable::load_normalisation(const Model& model, const Step& step) {
  const ProgramTensor& y = program_.tensors[static_cast<size_t>(step.output)];
  float* scale = floats_at(weights_, step.scale);
  float* shift = floats_at(weights_, step.shift);
  std::fill_n(scale, lanes_of(y), 0.0F);
  std::fill_n(shift, lanes_of(y), 0.0F);
  normalisation(model, step.batch_norm, y.shape.channels, scale, shift);
}

}  // namespace elek::backends::cpu
