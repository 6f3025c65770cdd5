// SPDX-License-Identifier: Apache-2.0
// Binding: allocates the four device slabs and the pinned slots, converts the parameters into the weights slab on the device,
// runs one pass to load every kernel, and records the pass. Each slab is one allocation. If one fails, nothing is left behind:
// buffers free themselves. Tests: tests/gpu/session_*_test.cpp.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "backends/cuda/error.h"
#include "backends/cuda/executable.h"
#include "backends/cuda/memory.h"
#include "backends/parameters.h"
#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "kernels/cuda/channel_map.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/preprocess.h"
#include "kernels/cuda/slab.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::backends::cuda {
namespace {

namespace k = kernels::cuda;

/// ELEK_CUDA_GRAPH=0 runs every pass step by step: for debuggers, for compute-sanitizer, and to find out whether an error comes
/// from the graph.
bool graphs_wanted() {
  const char* value = std::getenv("ELEK_CUDA_GRAPH");
  return value == nullptr || std::string_view(value) != "0";
}

}  // namespace

CudaExecutable::CudaExecutable(int device, Program program, Notes notes, const Model& model, const MemoryPlan& plan,
                               MemoryResource& memory)
    : device_(device), program_(std::move(program)), notes_(std::move(notes)), plan_(plan) {
  const DeviceGuard guard(device_);
  stream_ = std::make_unique<CudaStream>();
  copies_ = std::make_unique<CudaStream>();
  handle_ = std::make_unique<CudnnHandle>(stream_->get());
  for (auto* events : {&copied_, &consumed_, &outputs_there_}) {
    for (auto& event : *events) event = std::make_unique<CudaEvent>();
  }
  pixels_read_ = std::make_unique<CudaEvent>();
  const Stream order{stream_->get()};
  weights_ = Buffer(notes_.weights_bytes, memory, {"weights", Use::kWeights}, order);
  ELEK_CUDA_CALL(cudaMemsetAsync(weights_.data(), 0, weights_.bytes(), stream_->get()));
  load_weights(model, memory);  // before the arena, so that the memory for packing is freed first
  arena_ = Buffer(plan_.arena_bytes, memory, {"arena", Use::kActivations}, order);
  statistics_ = Buffer(notes_.statistics_bytes, memory, {"statistics", Use::kStatistics}, order);
  staged_ = lay_out_staging(program_, notes_);
  staging_ = Buffer(staged_.bytes, memory, {"staging", Use::kStaging}, order);
  // A partial batch also computes what lies after its samples, and ignores it. So clear it: another process may have left
  // values there.
  ELEK_CUDA_CALL(cudaMemsetAsync(arena_.data(), 0, arena_.bytes(), stream_->get()));
  ELEK_CUDA_CALL(cudaMemsetAsync(staging_.data(), 0, staging_.bytes(), stream_->get()));
  const HostStaging host(program_, notes_, kDepth);
  pinned_ = Buffer(host.bytes(), pinned_resource(), "pinned staging");
  slots_ = host.slots(at(pinned_, 0));
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = host.output(at(pinned_, 0), i);
  lay_out_statistics();
  tie_fused_sums();
  reset_statistics();
  warm_up_and_record();
  reset_statistics();
}

CudaExecutable::~CudaExecutable() {
  try {
    const DeviceGuard guard(device_);
    for (const CudaStream* stream : {copies_.get(), stream_.get()}) {
      report_cuda(cudaStreamSynchronize(stream->get()), "ending a session");
    }
    handle_.reset();
  } catch (const DeviceError&) {  // after a fault nothing works; free what can be freed
  }
}

/// Copies in stream order and waits, so that `from` may be any host memory.
void CudaExecutable::upload(const Buffer& slab, size_t offset, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  ELEK_CUDA_CALL(cudaMemcpyAsync(at(slab, offset), from, bytes, cudaMemcpyHostToDevice, stream_->get()));
  synchronise("loading a session");
}

void CudaExecutable::lay_out_statistics() {
  nothing_seen_.assign(notes_.totals_bytes - notes_.fused_bytes, std::byte{0});
  for (const Watched& w : notes_.watched) {
    const int64_t channels = program_.tensors[static_cast<size_t>(w.tensor)].shape.channels;
    const float threshold = notes_.options.probes.threshold;
    totals_.push_back(k::ChannelTotals::lay_out(at(statistics_, w.offset), channels, w.sums, threshold));
    k::ChannelTotals::lay_out(nothing_seen_.data() + (w.offset - notes_.fused_bytes), channels, w.sums, threshold).reset_host();
  }
}

/// The table that says which f32 sums of the slab are added to which totals after a full pass.
void CudaExecutable::tie_fused_sums() {
  std::vector<k::SlabEntry> entries;
  for (const Step& step : notes_.steps) {
    if (step.fused_sums == 0) continue;
    const k::ChannelTotals& totals = totals_[static_cast<size_t>(step.watched)];
    const kernels::SumArrays& to = totals.arrays;
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

/// Kernels are compiled and loaded at their first run. That must not happen while a graph is recorded, or in a timed run.
void CudaExecutable::warm_up_and_record() {
  for (const Pass pass : {Pass::kPartial, Pass::kFull}) {
    enqueue_pass(0, program_.micro_batch, pass);
    synchronise("the first pass of a session");
  }
  if (!graphs_wanted()) return;
  try {
    for (size_t buffer = 0; buffer < graphs_.size(); ++buffer) {
      graphs_[buffer].record(stream_->get(), [&] { enqueue_pass(buffer, program_.micro_batch, Pass::kFull); });
    }
  } catch (const DeviceError& error) {  // a kernel cannot be recorded; a fault would show again at the next call
    for (CudaGraph& graph : graphs_) graph.clear();
    warn(std::string("the pass cannot be recorded as a CUDA graph and runs kernel by kernel, which is slower: ") +
         error.what());
  }
}

void CudaExecutable::load_weights(const Model& model, MemoryResource& memory) {
  const int64_t channels = notes_.input_shape.channels;
  const Preprocessing& p = model.preprocessing;
  check_preprocessing(p, channels);
  std::vector<float> table(static_cast<size_t>(channels * kernels::kPixelValues));
  kernels::fill_preprocess_table(channels, p.mean.data(), p.stddev.data(), table.data());
  upload(weights_, notes_.table_offset, table.data(), table.size() * sizeof(float));
  const Buffer packing(notes_.packing_bytes, memory, {"packing", Use::kWorkspace}, {stream_->get()});
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
    const std::vector<int32_t> tables = k::tap_norm_tables(t.plan);
    upload(weights_, t.tables, tables.data(), tables.size() * sizeof(int32_t));
  }
  for (const WatchedMoments& m : notes_.batch_moments) {
    std::vector<std::byte> block(m.parameter_bytes());
    moment_parameters(model, m, block.data());
    upload(weights_, m.parameters, block.data(), block.size());
  }
}

void CudaExecutable::load_kernel(const Model& model, size_t index, const Buffer& packing) {
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
  if (step.kind == Kind::kConv) {
    const ConvProblem& p = step.plan.problem();
    c.c = x.shape.channels / p.groups;
    c.r = p.kernel.height;
    c.s = p.kernel.width;
    c.padded_k = p.filters;
    c.padded_c = p.channels / p.groups;
  }
  check_weights(w.weight, node, x.shape, y.shape);
  c.krsc = at(weights_, step.weights);
  convert(c, w.weight, packing, "'" + node.node.name + ".weight': ", "weights");
  upload(weights_, step.bias, w.bias.data(), w.bias.bytes());
  if (step.stored_bias == kNone) return;
  k::WeightConversion bias;
  bias.k = y.shape.channels;
  bias.padded_k = y.channel_pitch;
  bias.c = bias.padded_c = 1;
  bias.krsc = at(weights_, step.stored_bias);
  convert(bias, w.bias, packing, "'" + node.node.name + "': ", "values of the bias (with its batch norm)");
}

/// Converts f32 values of the host to the storage type on the device. UsageError if f16 does not hold them.
void CudaExecutable::convert(k::WeightConversion c, const Tensor& from, const Buffer& packing, const std::string& owner,
                             const char* what) const {
  size_t overflow_offset = 0;
  (void)reserve(overflow_offset, from.bytes());
  overflow_offset = reserve(overflow_offset, 0);
  const int64_t none = 0;
  upload(packing, 0, from.data(), from.bytes());
  upload(packing, overflow_offset, &none, sizeof(none));
  c.kcrs = static_cast<const float*>(packing.data());
  c.dtype = storage_of(notes_.options.precision);
  k::launch_convert_weights(c, typed<int64_t>(packing, overflow_offset), stream_->get());
  int64_t overflows = 0;
  ELEK_CUDA_CALL(
      cudaMemcpyAsync(&overflows, at(packing, overflow_offset), sizeof(overflows), cudaMemcpyDeviceToHost, stream_->get()));
  synchronise("converting weights");
  if (overflows > 0) {
    throw Hinted<UsageError>(Hint::kHoldingPrecision,
                             owner + std::to_string(overflows) + " " + what + " lie beyond what f16 holds (65504)");
  }
}

void CudaExecutable::load_normalisation(const Model& model, const Step& step) {
  const int64_t channels = program_.tensors[static_cast<size_t>(step.output)].shape.channels;
  std::vector<float> scale(static_cast<size_t>(channels)), shift(scale.size());
  normalisation(model, step.batch_norm, channels, scale.data(), shift.data());
  upload(weights_, step.scale, scale.data(), scale.size() * sizeof(float));
  upload(weights_, step.shift, shift.data(), shift.size() * sizeof(float));
}

}  // namespace elek::backends::cuda
