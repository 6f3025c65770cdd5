// SPDX-License-Identifier: Apache-2.0
// Runs batches: copies pixels on the copy stream into one of two device buffers, runs the pass on the session's stream, and
// copies the logits back into pinned memory. Tests: tests/gpu/session_*_test.cpp.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <variant>

#include "backends/cuda/error.h"
#include "backends/cuda/executable.h"
#include "core/error.h"
#include "kernels/cuda/batch_moments.h"
#include "kernels/cuda/channel_map.h"
#include "kernels/cuda/channel_scale.h"
#include "kernels/cuda/concat.h"
#include "kernels/cuda/epilogue.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/preprocess.h"
#include "kernels/cuda/slab.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::backends::cuda {
namespace k = kernels::cuda;
namespace {

/// The GPU's kernel of every operator that has its own (Kind::kKernel). An operator that is missing here does not compile.
/// input(i): the view of input i; `inputs`: their number.
template <typename Input>
struct KernelOf {
  const Input& input;
  size_t inputs;
  const k::CudaActivation& y;
  const k::PoolSums& sums;
  const int32_t* table;  // of a channel map
  cudaStream_t stream;

  static kernels::PoolWindow window(const PoolAttrs& a, bool counts_padding = true) {
    return {a.kernel, a.stride, a.padding, a.rounding(), counts_padding};
  }
  void operator()(const MaxPoolAttrs& a) const { k::launch_max_pool(input(0), y, window(a), sums, stream); }
  void operator()(const AvgPoolAttrs& a) const {
    k::launch_avg_pool(input(0), y, window(a, a.count_include_pad), sums, stream);
  }
  void operator()(const GlobalAvgPoolAttrs& /*a*/) const { k::launch_global_avg_pool(input(0), y, sums, stream); }
  void operator()(const ChannelMapAttrs& a) const { k::launch_channel_map(input(0), table, a.stride, y, sums, stream); }
  void operator()(const ChannelScaleAttrs& /*a*/) const { k::launch_channel_scale(input(0), input(1), y, sums, stream); }
  void operator()(const ConcatAttrs& /*a*/) const {
    int64_t first = 0;
    for (size_t i = 0; i < inputs; ++i) {
      const k::CudaActivation part = input(i);
      k::launch_concat_part(part, y, first, stream);
      first += part.shape.channels;
    }
    if (sums.totals != nullptr) k::launch_observe(y, *sums.totals, sums.workspace, sums.workspace_bytes, stream);
  }
  template <typename Op>
  void operator()(const Op& /*a*/) const {
    static_assert(!backends::kHasOwnKernel<Op>, "the CUDA backend has no kernel for this operator");
    ELEK_CHECK(false, std::string(Op::kName) + " has no kernel of its own");
  }
};

}  // namespace

CudaExecutable::View CudaExecutable::view(int32_t tensor, int64_t samples) const {
  const ProgramTensor& t = program_.tensors[static_cast<size_t>(tensor)];
  return {at(arena_, plan_.storage_offsets[static_cast<size_t>(t.storage)]), t.dtype, samples, t.shape, t.channel_pitch};
}

/// The sums to which the epilogue adds. Null if nothing is watched, or if the raw convolution is watched (its sums are taken
/// before).
const k::ChannelTotals* CudaExecutable::totals_of(const Step& step) const {
  return step.watched < 0 || step.watch_raw ? nullptr : &totals_[static_cast<size_t>(step.watched)];
}

k::PoolSums CudaExecutable::pool_sums(size_t index) const {
  const Step& step = notes_.steps[index];
  return {totals_of(step), workspace(index, step.sums_offset), step.sums_bytes};
}

/// While one batch is computed, the pixels of the next are copied: two pixel buffers, two outputs, all passes on one stream.
void CudaExecutable::begin(const Slot& slot) {
  check_slot(slot, program_, notes_);
  const DeviceGuard guard(device_);
  const size_t batch = begun_ % kDepth;
  const int64_t pixels_each = notes_.input_shape.elements();
  float* output = outputs_[batch].data();
  const size_t outputs_each = outputs_[batch].size() / static_cast<size_t>(program_.batch);
  naming_faults("running a batch", [&] {
    for (int64_t first = 0; first < slot.count; first += program_.micro_batch) {
      run_slice(slot.pixels + first * pixels_each, std::min(program_.micro_batch, slot.count - first),
                output + static_cast<size_t>(first) * outputs_each);
    }
  });
  outputs_there_[batch]->record(stream_->get());
  pixels_read_->record(copies_->get());
  counts_[batch] = slot.count;
  samples_ += slot.count;
  batches_ += 1;
  last_samples_ = slot.count;
  check(cudaEventSynchronize(pixels_read_->get()), "copying pixels");
  ++begun_;
}

std::span<const float> CudaExecutable::end() {
  const DeviceGuard guard(device_);
  const size_t batch = ended_++ % kDepth;
  check(cudaEventSynchronize(outputs_there_[batch]->get()), "running a batch");
  const size_t outputs_each = outputs_[batch].size() / static_cast<size_t>(program_.batch);
  return outputs_[batch].first(outputs_each * static_cast<size_t>(counts_[batch]));
}

/// Copies the pixels of one micro-batch while the one before is still computed, then enqueues its pass and the copy of its
/// output.
void CudaExecutable::run_slice(const uint8_t* pixels, int64_t samples, float* output) {
  const size_t buffer = turn_++ % 2;
  consumed_[buffer]->make_wait(copies_->get());  // waits until the pass before last has read this buffer
  const size_t pixel_bytes = static_cast<size_t>(notes_.input_shape.elements() * samples);
  ELEK_CUDA_CALL(
      cudaMemcpyAsync(at(staging_, staged_.pixels[buffer]), pixels, pixel_bytes, cudaMemcpyHostToDevice, copies_->get()));
  copied_[buffer]->record(copies_->get());
  copied_[buffer]->make_wait(stream_->get());
  if (times_ == nullptr && samples == program_.micro_batch && graphs_[buffer].recorded()) {
    graphs_[buffer].launch(stream_->get());
  } else {
    enqueue_pass(buffer, samples, samples == program_.micro_batch ? Pass::kFull : Pass::kPartial);
  }
  if (times_ != nullptr) add_laps();
  consumed_[buffer]->record(stream_->get());
  const size_t output_bytes = outputs_[0].size_bytes() / static_cast<size_t>(program_.batch) * static_cast<size_t>(samples);
  ELEK_CUDA_CALL(cudaMemcpyAsync(output, at(staging_, staged_.output), output_bytes, cudaMemcpyDeviceToHost, stream_->get()));
}

/// Everything between the pixels and the output of one micro-batch, on the session's stream. Allocates nothing, so it can be
/// recorded.
void CudaExecutable::enqueue_pass(size_t buffer, int64_t samples, Pass pass) {
  const bool fused = pass == Pass::kFull && tied_sums_ > 0;
  mark(0);
  if (fused) ELEK_CUDA_CALL(cudaMemsetAsync(statistics_.data(), 0, notes_.fused_bytes, stream_->get()));
  const View input = view(notes_.steps[0].output, samples);
  k::launch_preprocess(typed<const uint8_t>(staging_, staged_.pixels[buffer]),
                       typed<const float>(weights_, notes_.table_offset), input, stream_->get());
  observe(0, input);
  mark(1);
  for (size_t i = 1; i < notes_.steps.size(); ++i) {
    run_step(i, samples, pass);
    mark(i + 1);
  }
  if (fused) {
    k::launch_accumulate_slab(typed<const k::SlabEntry>(statistics_, notes_.slab_entries_offset), tied_sums_,
                              most_fused_channels_, stream_->get());
  }
  k::launch_to_nchw(view(notes_.output, samples), typed<float>(staging_, staged_.output), stream_->get());
  mark(notes_.steps.size() + 1);
}

/// Records event `at` of a timed run: 0 before the first step, i + 1 after step i, the last one after the pass.
void CudaExecutable::mark(size_t at) {
  if (times_ != nullptr) marks_[at]->record(stream_->get());
}

/// Waits for the pass and adds the times between its marks. What is launched between the first marks (clearing the slab of
/// sums) counts as preprocessing.
void CudaExecutable::add_laps() {
  check(cudaEventSynchronize(marks_.back()->get()), "timing a pass");
  for (size_t i = 0; i + 1 < marks_.size(); ++i) {
    float ms = 0;
    ELEK_CUDA_CALL(cudaEventElapsedTime(&ms, marks_[i]->get(), marks_[i + 1]->get()));
    (i < times_->step_us.size() ? times_->step_us[i] : times_->rest_us) += 1e3 * static_cast<double>(ms);
  }
}

std::span<const float> CudaExecutable::run_timed(const Slot& slot, StepTimes& times) {
  const DeviceGuard guard(device_);
  while (marks_.size() < notes_.steps.size() + 2) marks_.push_back(std::make_unique<CudaEvent>(Timing::kOn));
  times = {std::vector<double>(notes_.steps.size(), 0.0), 0.0};
  times_ = &times;
  try {
    begin(slot);
  } catch (...) {
    times_ = nullptr;
    throw;
  }
  times_ = nullptr;
  return end();
}

void CudaExecutable::run_step(size_t index, int64_t samples, Pass pass) {
  const Step& step = notes_.steps[index];
  if (step.tap_norm >= 0) {
    const WatchedTaps& taps = notes_.tap_norms[static_cast<size_t>(step.tap_norm)];
    k::launch_tap_norms(view(step.input, samples), taps.plan, typed<const int32_t>(weights_, taps.tables),
                        typed<double>(statistics_, taps.offset), workspace(index, step.taps_offset), step.taps_bytes,
                        stream_->get());
  }
  if (step.kind == Kind::kConv) {
    run_convolution(index, samples, pass);
  } else if (step.kind == Kind::kLinear) {
    run_linear(index, samples);
  } else {
    run_simple(index, samples);
  }
}

void CudaExecutable::run_convolution(size_t index, int64_t samples, Pass pass) {
  const Step& step = notes_.steps[index];
  const Fusion fusion = pass == Pass::kFull ? step.fusion : step.partial_fusion;
  const ConvPlan& plan = pass == Pass::kFull ? step.plan : step.partial_plan;
  const View y = view(step.output, samples);
  ConvPointers p;
  p.x = view(step.input, samples).data;
  p.w = at(weights_, step.weights);
  const bool f32 = plan.problem().bias_dtype() == DType::kF32;
  const auto* f32_bias = typed<const float>(weights_, step.bias);
  p.bias = f32 ? at(weights_, step.bias) : at(weights_, step.stored_bias);
  p.residual = step.residual >= 0 ? view(step.residual, samples).data : nullptr;
  p.y = y.data;
  p.threshold = notes_.options.probes.threshold;
  for (size_t i = 0; i < p.sums.size(); ++i) p.sums[i] = typed<float>(statistics_, step.fused_offsets[i]);
  plan.execute(handle_->get(), p, workspace(index, 0));
  if (fusion == Fusion::kAllButSums) observe(index, y);
  if (fusion != Fusion::kNone) return;
  if (step.watch_raw) {
    k::launch_observe(y, totals_[static_cast<size_t>(step.watched)], workspace(index, step.sums_offset), step.sums_bytes,
                      stream_->get());
  }
  if (step.by_batch_moments()) {
    normalise_by_batch_moments(index, y, y);
  } else {
    const float* bias = plan.problem().epilogue == ConvEpilogue::kFull ? nullptr : f32_bias;  // the plan has already added it
    finish(index, y, y, typed<const float>(weights_, step.scale),
           step.bn_apart ? typed<const float>(weights_, step.shift) : bias);
  }
}

/// y = act(scale * z + shift + residual), and its sums.
void CudaExecutable::finish(size_t index, const View& z, const View& y, const float* scale, const float* shift) {
  const Step& step = notes_.steps[index];
  k::Epilogue e;
  e.z = z;
  e.y = y;
  e.scale = scale;
  e.shift = shift;
  e.residual = step.residual >= 0 ? view(step.residual, y.samples).data : nullptr;
  e.activation = step.activation;
  e.totals = totals_of(step);
  e.workspace = workspace(index, step.sums_offset);
  e.workspace_bytes = step.sums_bytes;
  k::launch_epilogue(e, stream_->get());
}

void CudaExecutable::normalise_by_batch_moments(size_t index, const View& z, const View& y) {
  const Step& step = notes_.steps[index];
  const WatchedMoments& m = notes_.batch_moments[static_cast<size_t>(step.batch_moment)];
  const kernels::Normalisation n = m.normalisation(at(weights_, 0), at(statistics_, 0));
  k::launch_batch_moments(z, {n.mean, n.variance, n.variance_unbiased}, workspace(index, step.moments_offset),
                          step.moments_bytes, stream_->get());
  k::launch_normalisation(n, stream_->get());
  finish(index, z, y, n.scale, n.shift);
}

void CudaExecutable::run_linear(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  const View y = view(step.output, samples);
  const auto* bias = typed<const float>(weights_, step.bias);
  void* z_data = step.linear_epilogue ? workspace(index, step.z_offset) : y.data;
  step.linear->run(view(step.input, samples).data, at(weights_, step.weights), bias, static_cast<float*>(z_data),
                   workspace(index, 0), stream_->get());
  if (!step.linear_epilogue) return;
  View z = y;
  z.data = z_data;
  z.dtype = DType::kF32;
  finish(index, z, y, nullptr, bias);
}

/// Takes the sums of a value that is already stored.
void CudaExecutable::observe(size_t index, const View& y) {
  const Step& step = notes_.steps[index];
  const k::ChannelTotals* totals = totals_of(step);
  if (totals == nullptr) return;
  k::launch_observe(y, *totals, workspace(index, step.sums_offset), step.sums_bytes, stream_->get());
}

void CudaExecutable::run_simple(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  const View x = view(step.input, samples);
  const View y = view(step.output, samples);
  switch (step.kind) {
    case Kind::kElementwise:
      if (step.by_batch_moments()) return normalise_by_batch_moments(index, x, y);
      return finish(index, x, y, typed<const float>(weights_, step.scale), typed<const float>(weights_, step.shift));
    case Kind::kKernel: {
      const auto input = [&](size_t i) { return view(step.input_at(i), samples); };
      return std::visit(KernelOf<decltype(input)>{input, step.inputs(), y, pool_sums(index),
                                                  typed<const int32_t>(weights_, step.table), stream_->get()},
                        program_.steps[index].node.node.attrs);
    }
    case Kind::kRelayout:
      run_relayout(index, x, y);
      return observe(index, y);
    case Kind::kAlias:
      return observe(index, y);
    case Kind::kPreprocess:
    case Kind::kConv:
    case Kind::kLinear:
      ELEK_CHECK(false, "step '" + program_.steps[index].node.node.name + "' is run elsewhere");
  }
}

/// The graph's flatten has features in the order C, H, W; memory has H, W, C.
void CudaExecutable::run_relayout(size_t index, const View& x, const View& y) {
  auto* flat = reinterpret_cast<float*>(workspace(index, notes_.steps[index].z_offset));
  k::launch_to_nchw(x, flat, stream_->get());
  k::launch_from_nchw(flat, y, stream_->get());
}

void CudaExecutable::synchronise(const char* doing) const { check(cudaStreamSynchronize(stream_->get()), doing); }

void CudaExecutable::check(cudaError_t status, const char* doing) const {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  throw DeviceError(explain(status, std::string(doing) + " on cuda:" + std::to_string(device_)));
}

std::vector<float> CudaExecutable::stored_value(int32_t index) const {
  ELEK_CHECK(notes_.options.keep_values, "stored values are kept only with keep_values");
  const DeviceGuard guard(device_);
  const View y = view(index, last_samples_);
  const auto positions = static_cast<size_t>(y.shape.positions());
  const auto channels = static_cast<size_t>(y.shape.channels);
  const auto pitch = static_cast<size_t>(y.channel_pitch);
  const auto samples = static_cast<size_t>(y.samples);
  std::vector<std::byte> raw(samples * positions * pitch * size_of(y.dtype));
  ELEK_CUDA_CALL(cudaMemcpy(raw.data(), y.data, raw.size(), cudaMemcpyDeviceToHost));
  const auto value_at = [&](size_t i) {
    if (y.dtype == DType::kF32) return reinterpret_cast<const float*>(raw.data())[i];
    if (y.dtype == DType::kF16) return __half2float(reinterpret_cast<const __half*>(raw.data())[i]);
    return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(raw.data())[i]);
  };
  std::vector<float> values(samples * channels * positions);
  for (size_t n = 0; n < samples; ++n) {
    for (size_t c = 0; c < channels; ++c) {
      for (size_t p = 0; p < positions; ++p)
        values[(n * channels + c) * positions + p] = value_at((n * positions + p) * pitch + c);
    }
  }
  return values;
}

BoundMemory CudaExecutable::memory() const noexcept {
  BoundMemory memory;
  memory.weights_bytes = weights_.bytes();
  memory.statistics_bytes = statistics_.bytes();
  memory.staging_bytes = staging_.bytes();
  return memory;
}

}  // namespace elek::backends::cuda
