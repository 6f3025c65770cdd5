// SPDX-License-Identifier: Apache-2.0
// Binding: the four device slabs and the pinned slots are allocated, parameters are converted into the weights slab on the
// device, one pass is run to load every kernel, and the pass is recorded. Each slab is one allocation, made in an order that
// leaves nothing behind when one fails: buffers free themselves. Tests: tests/gpu/session_*_test.cpp. HAS NOT RUN ON A GPU YET.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string_view>

#include "engine/backends/cudnn/cuda_error.h"
#include "engine/backends/cudnn/cuda_memory.h"
#include "engine/backends/cudnn/executable.h"
#include "engine/base/error.h"
#include "kernels/cuda/channel_map.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/preprocess.h"
#include "kernels/cuda/slab.h"

namespace elek::cudnn {
namespace {

namespace k = kernels::cuda;

std::span<const float> parameter(const Model& model, const std::string& name, int64_t elements) {
  const std::span<const float> values = model.parameter(name).f32();
  ELEK_CHECK(static_cast<int64_t>(values.size()) == elements,
             "'" + name + "': expected " + std::to_string(elements) + " elements, found " + std::to_string(values.size()));
  return values;
}

/// ELEK_CUDA_GRAPH=0 runs every pass step by step: for debuggers and compute-sanitizer, and to tell a graph's faults from ours.
bool graphs_wanted() {
  const char* value = std::getenv("ELEK_CUDA_GRAPH");
  return value == nullptr || std::string_view(value) != "0";
}

}  // namespace

CudnnExecutable::CudnnExecutable(int device, Program program, Notes notes, const Model& model, const MemoryPlan& plan,
                                 MemoryResource& memory)
    : device_(device), program_(std::move(program)), notes_(std::move(notes)), plan_(plan) {
  const DeviceGuard guard(device_);
  stream_ = std::make_unique<CudaStream>();
  copies_ = std::make_unique<CudaStream>();
  handle_ = std::make_unique<CudnnHandle>(stream_->get());
  for (auto* events : {&copied_, &consumed_}) {
    for (auto& event : *events) event = std::make_unique<CudaEvent>();
  }
  const Stream order{stream_->get()};
  weights_ = Buffer(notes_.weights_bytes, memory, "weights", order);
  ELEK_CUDA_CALL(cudaMemsetAsync(weights_.data(), 0, weights_.bytes(), stream_->get()));
  load_weights(model, memory);  // before the arena: the room that packing needs is given back first
  arena_ = Buffer(plan_.arena_bytes, memory, "arena", order);
  statistics_ = Buffer(notes_.statistics_bytes, memory, "statistics", order);
  staged_ = lay_out_staging(program_, notes_);
  staging_ = Buffer(staged_.bytes, memory, "staging", order);
  // A partial batch computes what lies beyond its samples too, and ignores it: it should not be what another process left
  // there.
  ELEK_CUDA_CALL(cudaMemsetAsync(arena_.data(), 0, arena_.bytes(), stream_->get()));
  ELEK_CUDA_CALL(cudaMemsetAsync(staging_.data(), 0, staging_.bytes(), stream_->get()));
  lay_out_slots();
  lay_out_statistics();
  tie_fused_sums();
  reset_statistics();
  warm_up_and_record();
  reset_statistics();
}

CudnnExecutable::~CudnnExecutable() {
  try {
    const DeviceGuard guard(device_);
    report_cuda(cudaStreamSynchronize(stream_->get()), "ending a session");
    handle_.reset();
  } catch (const DeviceError&) {  // after a fault nothing works; what is left is freed as far as it can be
  }
}

/// Copies in the stream's order and waits, so that `from` may be anything.
void CudnnExecutable::upload(const Buffer& slab, size_t offset, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  ELEK_CUDA_CALL(cudaMemcpyAsync(at(slab, offset), from, bytes, cudaMemcpyHostToDevice, stream_->get()));
  synchronise("loading a session");
}

/// Pinned: pixels and labels of two slots, and the output of a batch.
void CudnnExecutable::lay_out_slots() {
  const auto batch = static_cast<size_t>(program_.batch);
  const auto pixel_bytes = static_cast<size_t>(notes_.input_shape.elements()) * batch;
  const auto outputs = static_cast<size_t>(program_.tensors[static_cast<size_t>(notes_.output)].shape.elements()) * batch;
  size_t bytes = 0;
  std::array<size_t, 2> pixels{}, labels{};
  for (size_t i = 0; i < slots_.size(); ++i) {
    pixels[i] = reserve(bytes, pixel_bytes);
    labels[i] = reserve(bytes, batch * sizeof(int32_t));
  }
  const size_t output = reserve(bytes, outputs * sizeof(float));
  pinned_ = Buffer(bytes, pinned_resource(), "pinned staging");
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i] = {typed<uint8_t>(pinned_, pixels[i]), typed<int32_t>(pinned_, labels[i]), program_.batch, 0, notes_.input_shape};
  }
  output_ = {typed<float>(pinned_, output), outputs};
}

void CudnnExecutable::lay_out_statistics() {
  nothing_seen_.assign(notes_.totals_bytes - notes_.fused_bytes, std::byte{0});
  for (const Watched& w : notes_.watched) {
    const int64_t channels = program_.tensors[static_cast<size_t>(w.tensor)].shape.channels;
    const float threshold = notes_.options.probes.threshold;
    totals_.push_back(k::ChannelTotals::lay_out(at(statistics_, w.offset), channels, w.sums, threshold));
    k::ChannelTotals::lay_out(nothing_seen_.data() + (w.offset - notes_.fused_bytes), channels, w.sums, threshold).reset_host();
  }
}

/// The table that says which f32 sums of the slab are added to which totals after a full pass.
void CudnnExecutable::tie_fused_sums() {
  std::vector<k::SlabEntry> entries;
  for (const Step& step : notes_.steps) {
    if (step.fused_sums == 0) continue;
    const k::ChannelTotals& totals = totals_[static_cast<size_t>(step.watched)];
    const k::TotalArrays& to = totals.arrays;
    const auto tie = [&](int kind, void* total, k::SlabOp op) {
      if (total == nullptr || (step.fused_sums & (1U << kind)) == 0) return;
      const auto* from = typed<const float>(statistics_, step.fused_offsets[static_cast<size_t>(kind)]);
      entries.push_back({from, total, totals.channels, op, 0});
    };
    tie(0, to.sum, k::SlabOp::kAddToDouble);
    tie(0, to.abs_sum, k::SlabOp::kAddToDouble);  // after a ReLU |y| = y
    tie(0, to.nonfinite, k::SlabOp::kCountNonfinite);
    tie(1, to.sum_sq, k::SlabOp::kAddToDouble);
    tie(2, to.active, k::SlabOp::kAddToCount);
    tie(3, to.max, k::SlabOp::kMaxToDouble);
    tie(4, to.z_sum, k::SlabOp::kAddToDouble);
    tie(5, to.z_sum_sq, k::SlabOp::kAddToDouble);
    most_fused_channels_ = std::max(most_fused_channels_, totals.channels);
  }
  tied_sums_ = static_cast<int64_t>(entries.size());
  ELEK_CHECK(tied_sums_ <= notes_.slab_entries, "more fused sums than lowering reserved room for");
  upload(statistics_, notes_.slab_entries_offset, entries.data(), entries.size() * sizeof(k::SlabEntry));
}

/// Kernels are compiled and loaded when they first run, which must not happen while a graph is recorded, nor in a timed run.
void CudnnExecutable::warm_up_and_record() {
  for (const Pass pass : {Pass::kPartial, Pass::kFull}) {
    enqueue_pass(0, program_.micro_batch, pass);
    synchronise("the first pass of a session");
  }
  if (!graphs_wanted()) return;
  for (size_t buffer = 0; buffer < graphs_.size(); ++buffer) {
    graphs_[buffer].record(stream_->get(), [&] { enqueue_pass(buffer, program_.micro_batch, Pass::kFull); });
  }
}

void CudnnExecutable::load_weights(const Model& model, MemoryResource& memory) {
  const int64_t channels = notes_.input_shape.channels;
  const Preprocessing& p = model.preprocessing;
  ELEK_CHECK(static_cast<int64_t>(p.mean.size()) == channels && static_cast<int64_t>(p.stddev.size()) == channels,
             "preprocessing: expected a mean and a deviation for each of " + std::to_string(channels) + " channels, found " +
                 std::to_string(p.mean.size()) + " and " + std::to_string(p.stddev.size()));
  std::vector<float> table(static_cast<size_t>(channels * k::kPixelValues));
  k::fill_preprocess_table(channels, p.mean.data(), p.stddev.data(), table.data());
  upload(weights_, notes_.table_offset, table.data(), table.size() * sizeof(float));
  const Buffer packing(notes_.packing_bytes, memory, "packing", {stream_->get()});
  for (size_t i = 0; i < notes_.steps.size(); ++i) {
    const Step& step = notes_.steps[i];
    if (step.weights != kNone) load_kernel(model, i, packing);
    if (step.scale != kNone) load_normalisation(model, step);
    if (step.table != kNone) {
      const auto& source = program_.steps[i].node.node.as<ChannelMapAttrs>().source;
      k::check_channel_map(source, program_.tensors[static_cast<size_t>(step.input)].shape.channels);
      upload(weights_, step.table, source.data(), source.size() * sizeof(int32_t));
    }
  }
  for (const WatchedTaps& t : notes_.tap_norms) {
    upload(weights_, t.tables, t.plan.tables.data(), t.plan.tables.size() * sizeof(int32_t));
  }
  for (const WatchedMoments& m : notes_.batch_moments) load_moments(model, m);
}

void CudnnExecutable::load_kernel(const Model& model, size_t index, const Buffer& packing) {
  const Step& step = notes_.steps[index];
  const FusedNode& node = program_.steps[index].node;
  const ConvWeights w = conv_weights(model, node, notes_.options.batch_norm, host_resource());
  const ProgramTensor& x = program_.tensors[static_cast<size_t>(step.input)];
  const ProgramTensor& y = program_.tensors[static_cast<size_t>(step.output)];
  k::WeightConversion c;
  c.k = y.shape.channels;
  c.c = x.shape.channels;
  c.padded_k = c.k;
  c.padded_c = x.channel_pitch;
  Shape expected{c.k, c.c};
  if (step.kind == Kind::kConv) {
    const ConvProblem& p = step.plan.problem();
    c.c = x.shape.channels / p.groups;
    c.r = c.s = p.kernel;
    c.padded_k = p.filters;
    c.padded_c = p.channels / p.groups;
    expected = Shape{c.k, c.c, c.r, c.s};
  }
  ELEK_CHECK(w.weight.shape() == expected,
             "'" + node.node.name + ".weight': expected " + to_string(expected) + ", found " + to_string(w.weight.shape()));
  size_t overflow_offset = 0;
  (void)reserve(overflow_offset, w.weight.bytes());
  overflow_offset = reserve(overflow_offset, 0);
  const int64_t none = 0;
  upload(packing, 0, w.weight.data(), w.weight.bytes());
  upload(packing, overflow_offset, &none, sizeof(none));
  c.kcrs = static_cast<const float*>(packing.data());
  c.krsc = at(weights_, step.weights);
  c.dtype = storage_of(notes_.options.precision);
  k::launch_convert_weights(c, typed<int64_t>(packing, overflow_offset), stream_->get());
  int64_t overflows = 0;
  ELEK_CUDA_CALL(
      cudaMemcpyAsync(&overflows, at(packing, overflow_offset), sizeof(overflows), cudaMemcpyDeviceToHost, stream_->get()));
  synchronise("converting weights");
  if (overflows > 0) {
    throw UsageError("'" + node.node.name + ".weight': " + std::to_string(overflows) +
                     " weights lie beyond what f16 holds (65504); use --precision bf16 or tf32");
  }
  upload(weights_, step.bias, w.bias.data(), w.bias.bytes());
}

/// scale = gamma / sqrt(var + eps), shift = beta - mean * scale, in double.
void CudnnExecutable::load_normalisation(const Model& model, const Step& step) {
  const int64_t channels = program_.tensors[static_cast<size_t>(step.output)].shape.channels;
  const double eps = model.graph.node(model.graph.at(step.batch_norm)).as<BatchNormAttrs>().eps;
  const auto gamma = parameter(model, step.batch_norm + ".weight", channels);
  const auto beta = parameter(model, step.batch_norm + ".bias", channels);
  const auto mean = parameter(model, step.batch_norm + ".running_mean", channels);
  const auto variance = parameter(model, step.batch_norm + ".running_var", channels);
  std::vector<float> scale, shift;
  for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
    const double s = static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(variance[c]) + eps);
    scale.push_back(static_cast<float>(s));
    shift.push_back(static_cast<float>(static_cast<double>(beta[c]) - static_cast<double>(mean[c]) * s));
  }
  upload(weights_, step.scale, scale.data(), scale.size() * sizeof(float));
  upload(weights_, step.shift, shift.data(), shift.size() * sizeof(float));
}

void CudnnExecutable::load_moments(const Model& model, const WatchedMoments& m) {
  const auto channels = static_cast<size_t>(m.channels);
  std::vector<std::byte> block(channels * 2 * (sizeof(double) + sizeof(float)));
  auto* doubles = reinterpret_cast<double*>(block.data());
  auto* floats = reinterpret_cast<float*>(doubles + 2 * channels);
  const auto copy = [&](const char* name, auto* to) {
    const auto from = parameter(model, m.batch_norm + name, m.channels);
    std::copy(from.begin(), from.end(), to);
  };
  copy(".running_mean", doubles);
  copy(".running_var", doubles + channels);
  copy(".weight", floats);
  copy(".bias", floats + channels);
  upload(weights_, m.parameters, block.data(), block.size());
}

}  // namespace elek::cudnn
