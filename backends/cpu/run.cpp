// SPDX-License-Identifier: Apache-2.0
// Runs the micro-batches, and in each the steps. A watched step runs over slices of a few samples, so that the convolution's
// result is still in the caches when the epilogue reads it. Tests: tests/golden/session_test.cpp,
// tests/golden/statistics_test.cpp
#include <algorithm>
#include <cstring>
#include <string>
#include <variant>

#include "backends/cpu/executable.h"
#include "backends/cpu/pinned_cores.h"
#include "core/error.h"
#include "kernels/cpu/batch_moments.h"
#include "kernels/cpu/channel_map.h"
#include "kernels/cpu/channel_scale.h"
#include "kernels/cpu/concat.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/preprocess.h"
#include "kernels/cpu/stored_types.h"
#include "kernels/cpu/tap_norms.h"

namespace elek::backends::cpu {

using kernels::cpu::with_stored;
namespace {

/// The CPU's kernel of every operator that has its own (Kind::kKernel). An operator that is missing here does not compile.
/// input(i): the view of input i; `inputs`: their number.
template <typename T, typename Input>
struct KernelOf {
  const Input& input;
  size_t inputs;
  const ActivationView<T>& y;
  const kernels::cpu::ChannelSums* sums;
  int threads;

  static kernels::PoolWindow window(const PoolAttrs& a, bool counts_padding = true) {
    return {a.kernel, a.stride, a.padding, a.rounding(), counts_padding};
  }
  void operator()(const MaxPoolAttrs& a) const { kernels::cpu::max_pool(input(0), y, window(a), sums, threads); }
  void operator()(const AvgPoolAttrs& a) const {
    kernels::cpu::avg_pool(input(0), y, window(a, a.count_include_pad), sums, threads);
  }
  void operator()(const GlobalAvgPoolAttrs& /*a*/) const { kernels::cpu::global_avg_pool(input(0), y, sums, threads); }
  void operator()(const ChannelMapAttrs& a) const { kernels::cpu::channel_map(input(0), a.source, a.stride, y, sums, threads); }
  void operator()(const ChannelScaleAttrs& /*a*/) const { kernels::cpu::channel_scale(input(0), input(1), y, sums, threads); }
  void operator()(const ConcatAttrs& /*a*/) const {
    int64_t first = 0;
    for (size_t i = 0; i < inputs; ++i) {
      const ActivationView<T> part = input(i);
      kernels::cpu::concat_part(part, y, first, threads);
      first += part.shape.channels;
    }
    if (sums != nullptr) kernels::cpu::observe(y, *sums, threads);
  }
  template <typename Op>
  void operator()(const Op& /*a*/) const {
    static_assert(!backends::kHasOwnKernel<Op>, "the CPU backend has no kernel for this operator");
    ELEK_CHECK(false, std::string(Op::kName) + " has no own kernel");
  }
};

}  // namespace

float* CpuExecutable::floats_at(const Buffer& slab, size_t offset) const {
  return offset == kNone ? nullptr : reinterpret_cast<float*>(at(slab, offset));
}

double* CpuExecutable::doubles_at(const Buffer& slab, size_t offset) const {
  return reinterpret_cast<double*>(at(slab, offset));
}

std::byte* CpuExecutable::data_of(int32_t index, int64_t first) const {
  const ProgramTensor& t = tensor(index);
  const size_t sample_bytes = t.bytes / static_cast<size_t>(program_.micro_batch);
  return at(arena_, plan_.storage_offsets[static_cast<size_t>(t.storage)] + static_cast<size_t>(first) * sample_bytes);
}

const kernels::cpu::ChannelSums* CpuExecutable::sums_of(const Step& step) const {
  return step.watched < 0 || step.watch_raw ? nullptr : &sums_[static_cast<size_t>(step.watched)];
}

void CpuExecutable::begin(const Slot& slot) {
  check_slot(slot, program_, notes_);
  const int64_t pixels_each = notes_.input_shape.elements();
  run_batch(slot.count, [&](int64_t first, const auto& input) {
    kernels::cpu::preprocess(slot.pixels + first * pixels_each, floats_at(weights_, notes_.table_offset), input,
                             notes_.threads);
  });
}

std::span<const float> CpuExecutable::end() {
  return output_.first(output_.size() / static_cast<size_t>(program_.batch) * static_cast<size_t>(last_samples_));
}

/// Adds the time since the last lap, and starts the next.
void CpuExecutable::lap(double& us) {
  const auto now = std::chrono::steady_clock::now();
  us += std::chrono::duration<double, std::micro>(now - lap_start_).count();
  lap_start_ = now;
}

std::span<const float> CpuExecutable::run_timed(const Slot& slot, StepTimes& times) {
  times = {std::vector<double>(notes_.steps.size(), 0.0), 0.0};
  const PinnedCores cores(notes_.threads);
  times_ = &times;
  lap_start_ = std::chrono::steady_clock::now();
  try {
    begin(slot);
  } catch (...) {
    times_ = nullptr;
    throw;
  }
  times_ = nullptr;
  return end();
}

std::span<const float> CpuExecutable::run_values(std::span<const float> x, int64_t samples) {
  const int64_t each = notes_.input_shape.elements();
  ELEK_CHECK(samples >= 1 && samples <= program_.batch && std::ssize(x) == samples * each,
             std::to_string(samples) + " samples in " + std::to_string(x.size()) + " values, expected at most " +
                 std::to_string(program_.batch) + " samples (the batch) of " + to_string(notes_.input_shape));
  run_batch(samples,
            [&](int64_t first, const auto& input) { kernels::cpu::from_nchw(x.data() + first * each, input, notes_.threads); });
  return end();
}

/// fill_input(first, view) writes the samples from `first` on into the first step's output.
template <typename FillInput>
void CpuExecutable::run_batch(int64_t count, const FillInput& fill_input) {
  for (int64_t first = 0; first < count; first += program_.micro_batch) {
    const int64_t samples = std::min(program_.micro_batch, count - first);
    with_stored(tensor(notes_.steps[0].output).dtype, [&](auto type) {
      const auto input = view<decltype(type)>(notes_.steps[0].output, samples);
      fill_input(first, input);
      if (const kernels::cpu::ChannelSums* sums = sums_of(notes_.steps[0])) kernels::cpu::observe(input, *sums, notes_.threads);
    });
    lap_step(0);
    for (size_t i = 1; i < notes_.steps.size(); ++i) {
      run_step(i, samples);
      lap_step(i);
    }
    copy_out(first, samples);
    if (times_ != nullptr) lap(times_->rest_us);
  }
  samples_ += count;
  batches_ += 1;
  last_samples_ = count;
}

void CpuExecutable::run_step(size_t index, int64_t samples) {
  const DType made = tensor(notes_.steps[index].output).dtype;
  if (notes_.steps[index].kernel) {
    run_kernel(index, samples);
  } else if (kernels::cpu::is_integer(made)) {
    kernels::cpu::with_integers(made, [&](auto type) { run_on_integers<decltype(type)>(index, samples); });
  } else {
    with_stored(tensor(notes_.steps[index].output).dtype, [&](auto type) { run_simple<decltype(type)>(index, samples); });
  }
}

/// If the kernel does the epilogue: the whole micro-batch at once. Otherwise a few samples at a time.
void CpuExecutable::run_kernel(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  if (step.kernel_finishes) return run_with_epilogue(index, samples);
  for (int64_t first = 0; first < samples;) {
    const int64_t count = std::min(samples - first, step.kernel->samples());
    run_slice(index, first, count);
    first += count;
  }
  if (!step.by_batch_moments()) return;
  const auto z = view<float>(step.output, samples, 0, step.z_in_workspace ? workspace(index) + step.z_offset : nullptr);
  with_stored(tensor(step.output).dtype, [&](auto type) {
    using T = decltype(type);
    const T* residual = step.residual >= 0 ? view<T>(step.residual, samples).data : nullptr;
    normalise_by_batch_moments(index, z, view<T>(step.output, samples), residual);
  });
}

void CpuExecutable::watch_taps(const Step& step, int64_t samples, int64_t first) {
  if (step.tap_norm < 0) return;
  const WatchedTaps& taps = notes_.tap_norms[static_cast<size_t>(step.tap_norm)];
  with_stored(tensor(step.input).dtype, [&](auto type) {
    kernels::cpu::tap_norms(view<decltype(type)>(step.input, samples, first), taps.plan, doubles_at(statistics_, taps.offset),
                            notes_.threads, notes_.threads);
  });
}

/// The kernel divides the micro-batch into blocks that stay in the cache, sums included.
void CpuExecutable::run_with_epilogue(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  watch_taps(step, samples, 0);
  ConvCall call;
  call.samples = samples;
  call.src = data_of(step.input);
  call.packed = at(weights_, step.weights);
  call.bias = floats_at(weights_, step.bias);
  call.dst = data_of(step.output);
  call.scratch = workspace(index);
  if (step.residual >= 0) {
    call.residual = data_of(step.residual);
    call.residual_stored = {tensor(step.residual).dtype, tensor(step.residual).scale};
  }
  call.dst_scale = tensor(step.output).scale;
  call.dst_grid = step.grid;
  call.activation = step.activation;
  const kernels::cpu::ChannelSums* sums = sums_of(step);
  call.sums = sums;
  step.kernel->run(call);
  if (sums != nullptr && (sums->sums & kPerSample) != 0) {
    with_stored(tensor(step.output).dtype, [&](auto type) {
      kernels::cpu::observe(view<decltype(type)>(step.output, samples), *sums, notes_.threads, kPerSample);
    });
  }
}

void CpuExecutable::run_slice(size_t index, int64_t first, int64_t samples) {
  const Step& step = notes_.steps[index];
  watch_taps(step, samples, first);
  std::byte* z_data = data_of(step.output, first);
  if (step.z_in_workspace) {  // all slices use one place, unless all of z is needed in the end
    const ProgramTensor& y = tensor(step.output);
    const int64_t before = step.by_batch_moments() ? first * y.channel_pitch * y.shape.positions() : 0;
    z_data = workspace(index) + step.z_offset + before * static_cast<int64_t>(sizeof(float));
  }
  ConvCall call;
  call.samples = samples;
  call.src = data_of(step.input, first);
  call.packed = at(weights_, step.weights);
  call.bias = floats_at(weights_, step.bias);
  call.dst = z_data;
  call.scratch = workspace(index);
  if (step.sum_in_place) call.residual = reinterpret_cast<const float*>(z_data);
  step.kernel->run(call);
  if (!step.epilogue) return;
  const auto epilogue = [&](auto z_type, auto y_type) {
    using Y = decltype(y_type);
    const auto z = view<decltype(z_type)>(step.output, samples, first, z_data);
    if (step.watch_raw) kernels::cpu::observe(z, sums_[static_cast<size_t>(step.watched)], notes_.threads);
    if (step.by_batch_moments()) return;
    const bool adds = step.residual >= 0 && !step.sum_in_place;
    finish(step, z, view<Y>(step.output, samples, first), floats_at(weights_, step.scale), floats_at(weights_, step.shift),
           adds ? view<Y>(step.residual, samples, first).data : nullptr);
  };
  with_stored(tensor(step.output).dtype,
              [&](auto type) { step.z_in_workspace ? epilogue(float(), type) : epilogue(type, type); });
}

template <typename Z, typename Y>
void CpuExecutable::finish(const Step& step, const ActivationView<Z>& z, const ActivationView<Y>& y, const float* scale,
                           const float* shift, const Y* residual) {
  kernels::cpu::Epilogue<Z, Y> epilogue;
  epilogue.z = z;
  epilogue.y = y;
  epilogue.scale = scale;
  epilogue.shift = shift;
  epilogue.residual = residual;
  epilogue.activation = step.activation;
  epilogue.sums = sums_of(step);
  kernels::cpu::run_epilogue(epilogue, notes_.threads);
}

/// Batch-norm re-estimation: normalises with the moments of this batch, and adds them to the average.
template <typename Z, typename Y>
void CpuExecutable::normalise_by_batch_moments(size_t index, const ActivationView<Z>& z, const ActivationView<Y>& y,
                                               const Y* residual) {
  const Step& step = notes_.steps[index];
  const WatchedMoments& m = notes_.batch_moments[static_cast<size_t>(step.batch_moment)];
  const kernels::Normalisation n = m.normalisation(at(weights_, 0), at(statistics_, 0));
  kernels::cpu::batch_moments(z, {n.mean, n.variance, n.variance_unbiased}, workspace(index) + step.moments_offset,
                              notes_.threads);
  kernels::cpu::normalise_by_moments(n);
  finish(step, z, y, n.scale, n.shift, residual);
}

/// Steps that only pass values on. Lowering stores a result as integers only if the input is too (quantised.h).
template <typename T>
void CpuExecutable::run_on_integers(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  const Attrs& attrs = program_.steps[index].node.node.attrs;
  const auto x = view<T>(step.input, samples);
  const auto y = view<T>(step.output, samples);
  if (const auto* pool = std::get_if<MaxPoolAttrs>(&attrs)) {
    kernels::cpu::max_pool(x, y, {pool->kernel, pool->stride, pool->padding, pool->rounding(), true}, nullptr, notes_.threads);
    return;
  }
  const auto* map = std::get_if<ChannelMapAttrs>(&attrs);
  ELEK_CHECK(map != nullptr, "step '" + program_.steps[index].node.node.name + "' does not run on integers");
  kernels::cpu::channel_map(x, map->source, map->stride, y, nullptr, notes_.threads);
}

template <typename T>
void CpuExecutable::run_simple(size_t index, int64_t samples) {
  const Step& step = notes_.steps[index];
  const kernels::cpu::ChannelSums* sums = sums_of(step);
  const auto x = view<T>(step.input, samples);
  const auto y = view<T>(step.output, samples);
  switch (step.kind) {
    case Kind::kElementwise: {
      const T* residual = step.residual >= 0 ? view<T>(step.residual, samples).data : nullptr;
      if (step.by_batch_moments()) {
        normalise_by_batch_moments(index, x, y, residual);
      } else {
        finish(step, x, y, floats_at(weights_, step.scale), floats_at(weights_, step.shift), residual);
      }
      return;
    }
    case Kind::kKernel: {
      const auto input = [&](size_t i) { return view<T>(step.input_at(i), samples); };
      return std::visit(KernelOf<T, decltype(input)>{input, step.inputs(), y, sums, notes_.threads},
                        program_.steps[index].node.node.attrs);
    }
    case Kind::kRelayout:
      kernels::cpu::to_nchw(x, y.data, notes_.threads);
      break;
    case Kind::kAlias:
      break;
    case Kind::kPreprocess:
    case Kind::kConv:
    case Kind::kLinear:
      ELEK_CHECK(false, "step '" + program_.steps[index].node.node.name + "' has its own function");
  }
  if (sums != nullptr) kernels::cpu::observe(y, *sums, notes_.threads);
}

/// A tensor's samples as [samples, elements], in the order channel, row, column.
void CpuExecutable::read_out(int32_t index, int64_t samples, float* to) const {
  with_stored(tensor(index).dtype,
              [&](auto type) { kernels::cpu::to_nchw(view<decltype(type)>(index, samples), to, notes_.threads); });
}

void CpuExecutable::copy_out(int64_t first, int64_t samples) {
  read_out(notes_.output, samples, output_.data() + first * tensor(notes_.output).shape.elements());
}

std::vector<float> CpuExecutable::stored_value(int32_t index) const {
  ELEK_CHECK(notes_.options.keep_values, "values are kept only with SessionOptions::keep_values");
  std::vector<float> values(static_cast<size_t>(last_samples_ * tensor(index).shape.elements()));
  read_out(index, last_samples_, values.data());
  return values;
}

BoundMemory CpuExecutable::memory() const noexcept { return {weights_.bytes(), statistics_.bytes(), staging_.bytes()}; }

}  // namespace elek::backends::cpu
