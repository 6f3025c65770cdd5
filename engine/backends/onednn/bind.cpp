// SPDX-License-Identifier: Apache-2.0
// Binding: the four slabs are allocated, parameters are packed into the weights slab, once. Each is one allocation, made in an
// order that leaves nothing behind when one fails: buffers free themselves.
// Tests: tests/golden/session_test.cpp
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/backends/onednn/executable.h"
#include "engine/backends/onednn/thread_count.h"
#include "engine/base/error.h"
#include "kernels/cpu/preprocess.h"

namespace elek::onednn {
namespace {

std::span<const float> parameter(const Model& model, const std::string& name, int64_t elements) {
  const std::span<const float> values = model.parameter(name).f32();
  ELEK_CHECK(static_cast<int64_t>(values.size()) == elements,
             "'" + name + "': expected " + std::to_string(elements) + " elements, found " + std::to_string(values.size()));
  return values;
}

}  // namespace

OneDnnExecutable::OneDnnExecutable(Program program, Notes notes, const Model& model, const MemoryPlan& plan,
                                   MemoryResource& memory)
    : program_(std::move(program)), notes_(std::move(notes)), plan_(plan) {
  const ThreadCount threads(notes_.threads);
  weights_ = Buffer(notes_.weights_bytes, memory, "weights");
  load_weights(model, memory);  // before the arena: the room that packing needs is given back first
  arena_ = Buffer(plan_.arena_bytes, memory, "arena");
  statistics_ = Buffer(notes_.statistics_bytes, memory, "statistics");
  lay_out_staging(memory);
  lay_out_statistics();
  reset_statistics();
}

std::unique_ptr<Executable> make_executable(Program program, Notes notes, const Model& model, const MemoryPlan& plan,
                                            MemoryResource& memory) {
  return std::make_unique<OneDnnExecutable>(std::move(program), std::move(notes), model, plan, memory);
}

StagingLayout staging_layout(const Program& program, const Notes& notes) {
  const auto batch = static_cast<size_t>(program.batch);
  const auto pixel_bytes = static_cast<size_t>(notes.input_shape.elements()) * batch;
  StagingLayout layout;
  for (size_t i = 0; i < layout.pixels.size(); ++i) {
    layout.pixels[i] = reserve(layout.bytes, pixel_bytes);
    layout.labels[i] = reserve(layout.bytes, batch * sizeof(int32_t));
  }
  layout.output_elements = static_cast<size_t>(program.tensors[static_cast<size_t>(notes.output)].shape.elements()) * batch;
  layout.output = reserve(layout.bytes, layout.output_elements * sizeof(float));
  return layout;
}

void OneDnnExecutable::lay_out_staging(MemoryResource& memory) {
  const StagingLayout layout = staging_layout(program_, notes_);
  staging_ = Buffer(layout.bytes, memory, "staging");
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i] = {reinterpret_cast<uint8_t*>(at(staging_, layout.pixels[i])),
                 reinterpret_cast<int32_t*>(at(staging_, layout.labels[i])), program_.batch, 0, notes_.input_shape};
  }
  output_ = {floats_at(staging_, layout.output), layout.output_elements};
}

void OneDnnExecutable::lay_out_statistics() {
  for (const Watched& w : notes_.watched) {
    const ProgramTensor& t = program_.tensors[static_cast<size_t>(w.tensor)];
    sums_.push_back(kernels::ChannelSums::lay_out(at(statistics_, w.offset), t.shape.channels, lanes_of(t), w.sums,
                                                  notes_.options.probes.threshold, notes_.threads));
  }
}

void OneDnnExecutable::load_weights(const Model& model, MemoryResource& memory) {
  const int64_t channels = notes_.input_shape.channels;
  const Preprocessing& p = model.preprocessing;
  ELEK_CHECK(static_cast<int64_t>(p.mean.size()) == channels && static_cast<int64_t>(p.stddev.size()) == channels,
             "preprocessing: expected a mean and a deviation for each of " + std::to_string(channels) + " channels, found " +
                 std::to_string(p.mean.size()) + " and " + std::to_string(p.stddev.size()));
  kernels::fill_preprocess_table(channels, p.mean.data(), p.stddev.data(), floats_at(weights_, notes_.table_offset));
  for (size_t i = 0; i < notes_.steps.size(); ++i) {
    const Step& step = notes_.steps[i];
    if (step.has_weights()) load_kernel(model, step, program_.steps[i].node, memory);
    if (step.scale != kNone) load_normalisation(model, step);
  }
  for (const WatchedMoments& m : notes_.batch_moments) load_moments(model, m);
}

void OneDnnExecutable::load_kernel(const Model& model, const Step& step, const FusedNode& node, MemoryResource& memory) {
  const ConvWeights w = conv_weights(model, node, notes_.options.batch_norm, memory);
  const ProgramTensor& x = program_.tensors[static_cast<size_t>(step.input)];
  const ProgramTensor& y = program_.tensors[static_cast<size_t>(step.output)];
  Shape expected{y.shape.channels, x.shape.channels};
  if (step.kind == Kind::kConv) {
    const Conv2dAttrs& a = node.node.as<Conv2dAttrs>();
    expected = Shape{y.shape.channels, x.shape.channels / a.groups, a.kernel, a.kernel};
  }
  ELEK_CHECK(w.weight.shape() == expected,
             "'" + node.node.name + ".weight': expected " + to_string(expected) + ", found " + to_string(w.weight.shape()));
  if (step.winograd) {
    kernels::pack_winograd_weights(*step.winograd, w.weight.f32().data(), floats_at(weights_, step.weights));
  } else {
    const Buffer staged(step.whole->staged_bytes(), memory, "packing");
    step.whole->pack(w.weight.f32().data(), static_cast<float*>(staged.data()), at(weights_, step.weights));
  }
  float* bias = floats_at(weights_, step.bias);
  std::fill_n(bias, lanes_of(y), 0.0F);
  std::copy(w.bias.f32().begin(), w.bias.f32().end(), bias);
}

/// scale = gamma / sqrt(var + eps), shift = beta - mean * scale, in double.
void OneDnnExecutable::load_normalisation(const Model& model, const Step& step) {
  const ProgramTensor& y = program_.tensors[static_cast<size_t>(step.output)];
  const int64_t channels = y.shape.channels;
  const double eps = model.graph.node(model.graph.at(step.batch_norm)).as<BatchNormAttrs>().eps;
  const auto gamma = parameter(model, step.batch_norm + ".weight", channels);
  const auto beta = parameter(model, step.batch_norm + ".bias", channels);
  const auto mean = parameter(model, step.batch_norm + ".running_mean", channels);
  const auto variance = parameter(model, step.batch_norm + ".running_var", channels);
  float* scale = floats_at(weights_, step.scale);
  float* shift = floats_at(weights_, step.shift);
  std::fill_n(scale, lanes_of(y), 0.0F);
  std::fill_n(shift, lanes_of(y), 0.0F);
  for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
    const double s = static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(variance[c]) + eps);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(static_cast<double>(beta[c]) - static_cast<double>(mean[c]) * s);
  }
}

void OneDnnExecutable::load_moments(const Model& model, const WatchedMoments& m) {
  const auto channels = static_cast<size_t>(m.channels);
  double* old_mean = doubles_at(weights_, m.parameters);
  double* old_variance = old_mean + channels;
  auto* gamma = reinterpret_cast<float*>(old_variance + channels);
  const auto copy = [&](const char* name, auto* to) {
    const auto from = parameter(model, m.batch_norm + name, m.channels);
    std::copy(from.begin(), from.end(), to);
  };
  copy(".running_mean", old_mean);
  copy(".running_var", old_variance);
  copy(".weight", gamma);
  copy(".bias", gamma + channels);
}

}  // namespace elek::onednn
