// SPDX-License-Identifier: Apache-2.0
// Forward steps. The backward steps are in backward_step.cpp. Tests: tests/train/trainer_test.cpp
#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/common/preprocess_table.h"
#include "kernels/cpu/channel_map.h"
#include "kernels/cpu/channel_scale.h"
#include "kernels/cpu/concat.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/preprocess.h"
#include "plan/plan.h"
#include "train/bound_program.h"

namespace elek::train {

namespace cpu = kernels::cpu;

BoundProgram::BoundProgram(const Model& model, const TrainerOptions& options)
    : program(make_train_program(model.graph, options.batch, options.threads > 0 ? options.threads : default_threads())),
      plan(elek::plan(program.memory)) {
  MemoryResource& memory = options.memory != nullptr ? *options.memory : host_resource();
  parameters = Buffer(program.parameter_floats * sizeof(float), memory, {"trained parameters", Use::kWeights});
  gradients = Buffer(program.parameter_floats * sizeof(float), memory, {"gradients of the parameters", Use::kWeights});
  arena = Buffer(plan.arena_bytes, memory, {"training arena", Use::kActivations});
  std::fill_n(parameter(0), program.parameter_floats, 0.0F);
  std::fill_n(gradient(0), program.parameter_floats, 0.0F);
  for (const TrainLayer& layer : program.layers) {
    const FusedNode& node = program.steps[at(layer.step)].node;
    const ConvWeights weights = conv_weights(model, node, BatchNorm::kFold, memory);
    std::ranges::copy(weights.weight.f32(), parameter(layer.weight_at));
    std::ranges::copy(weights.bias.f32(), parameter(layer.bias_at));
  }
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Node& node = program.steps[i].node.node;
    if (!node.is<BatchNormAttrs>()) continue;
    const size_t channels = at(node.shape.channels);
    std::vector<float>& both = affine[i];
    both.resize(2 * channels);
    normalisation(model, node.name, node.shape.channels, both.data(), both.data() + channels);
  }
  const int64_t channels = program.values[0].shape.channels;
  table.resize(at(channels * kernels::kPixelValues));
  kernels::fill_preprocess_table(channels, model.preprocessing.mean.data(), model.preprocessing.stddev.data(), table.data());
}

cpu::Gradients BoundProgram::view(int32_t storage, const ImageShape& shape) const {
  auto* const data = static_cast<std::byte*>(arena.data()) + plan.storage_offsets[at(storage)];
  return {reinterpret_cast<float*>(data), samples, shape, program.layout, padded_channels(program.layout, shape.channels)};
}
cpu::Gradients BoundProgram::value(int32_t index) const {
  const TrainValue& v = program.values[at(index)];
  return view(v.storage, v.shape);
}
cpu::Gradients BoundProgram::value_gradient(int32_t index) const {
  const TrainValue& v = program.values[at(index)];
  return view(v.gradient_storage, v.shape);
}
float* BoundProgram::workspace(int32_t time) const {
  return reinterpret_cast<float*>(static_cast<std::byte*>(arena.data()) + plan.workspace_offsets[at(time)]);
}

void BoundProgram::run_epilogue(const TrainStep& step, const cpu::Gradients& z, const float* scale, const float* shift,
                                const float* residual, const Activation& activation) const {
  cpu::Epilogue<float, float> epilogue;
  epilogue.z = z;
  epilogue.y = value(step.y);
  epilogue.scale = scale;
  epilogue.shift = shift;
  epilogue.residual = residual;
  epilogue.activation = activation;
  cpu::run_epilogue(epilogue, program.threads);
}

void BoundProgram::run_layer(size_t index) {
  const TrainStep& step = program.steps[index];
  const TrainLayer& layer = program.layers[at(step.layer)];
  const cpu::Gradients y = value(step.y);
  const float* const residual = step.second >= 0 ? value(step.second).data : nullptr;
  if (!layer.plans.forward) {
    cpu::grouped_conv(layer.plans.conv, read(step.x), parameter(layer.weight_at), parameter(layer.bias_at), y, program.threads);
    if (residual != nullptr || !step.activation.is_none()) run_epilogue(step, y, nullptr, nullptr, residual, step.activation);
    return;
  }
  float* const space = workspace(program.forward_time(index));
  layer.plans.forward->pack(parameter(layer.weight_at), space);
  cpu::ConvArgs args;
  args.x = read(step.x);
  args.packed = space;
  args.bias = parameter(layer.bias_at);
  if (residual != nullptr) args.residual = read(step.second);
  args.activation = step.activation;
  args.y = y;
  args.scratch = space + workspace_of(*layer.plans.forward).scratch;
  layer.plans.forward->run(args);
}

namespace {

/// The forward step of every operator without weights. One that is missing here does not compile.
struct ForwardStep {
  const BoundProgram& bound;
  const TrainStep& step;
  size_t index;
  cpu::Gradients x = bound.value(step.x);
  cpu::Gradients y = bound.value(step.y);
  int threads = bound.program.threads;

  void operator()(const MaxPoolAttrs& a) const { cpu::max_pool(x, y, pool_window(a), nullptr, threads); }
  void operator()(const AvgPoolAttrs& a) const { cpu::avg_pool(x, y, pool_window(a, a.count_include_pad), nullptr, threads); }
  void operator()(const GlobalAvgPoolAttrs& /*a*/) const { cpu::global_avg_pool(x, y, nullptr, threads); }
  void operator()(const ChannelMapAttrs& a) const { cpu::channel_map(x, a.source, a.stride, y, nullptr, threads); }
  void operator()(const ChannelScaleAttrs& /*a*/) const {
    cpu::channel_scale(x, bound.value(step.second), y, nullptr, threads);
  }
  void operator()(const ConcatAttrs& /*a*/) const {
    int64_t first = 0;
    for (const int32_t input : step.inputs()) {
      const cpu::Gradients part = bound.value(input);
      cpu::concat_part(part, y, first, threads);
      first += part.shape.channels;
    }
  }
  void operator()(const FlattenAttrs& /*a*/) const { cpu::flatten(bound.read(step.x), y, threads); }
  void operator()(const AddAttrs& /*a*/) const {
    bound.run_epilogue(step, x, nullptr, nullptr, bound.value(step.second).data, Activation::kNone);
  }
  void operator()(const BatchNormAttrs& /*a*/) const {
    const std::vector<float>& affine = bound.affine.at(index);
    bound.run_epilogue(step, x, affine.data(), affine.data() + affine.size() / 2, nullptr, Activation::kNone);
  }
  template <typename Op>
  void operator()(const Op& a) const {
    if constexpr (Op::kClass == OpClass::kActivation) {
      bound.run_epilogue(step, x, nullptr, nullptr, nullptr, a.activation());
    } else {
      static_assert(std::is_same_v<Op, InputAttrs> || std::is_same_v<Op, Conv2dAttrs> || std::is_same_v<Op, LinearAttrs>,
                    "training has no forward step for this operator");
      ELEK_CHECK(false, "'" + step.node.node.name + "' has its own function");
    }
  }
};

}  // namespace

void BoundProgram::run_forward() {
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const TrainStep& step = program.steps[i];
    if (step.layer >= 0) {
      run_layer(i);
    } else {
      std::visit(ForwardStep{*this, step, i}, step.node.node.attrs);
    }
  }
}

struct Trainer::Impl {
  Impl(Model given, const TrainerOptions& options) : base(std::move(given)), bound(base, options) {
    logits.resize(at(bound.program.batch * bound.program.values[at(bound.program.output)].shape.elements()));
    for (const TrainLayer& layer : bound.program.layers) {
      const std::string& name = bound.program.steps[at(layer.step)].node.node.name;
      const size_t weights = at(layer.weight.elements()), biases = at(layer.weight[0]);
      list.push_back(
          {name + ".weight", {bound.parameter(layer.weight_at), weights}, {bound.gradient(layer.weight_at), weights}, false});
      if (!layer.has_bias) continue;
      list.push_back({name + ".bias", {bound.parameter(layer.bias_at), biases}, {bound.gradient(layer.bias_at), biases}, true});
    }
  }
  std::span<const float> run(int64_t samples) {
    bound.run_forward();
    const auto count = at(samples * bound.program.values[at(bound.program.output)].shape.elements());
    cpu::to_nchw(bound.value(bound.program.output), logits.data(), bound.program.threads);
    ran = true;
    return {logits.data(), count};
  }
  void start(int64_t samples, size_t given) {
    const int64_t each = bound.program.values[0].shape.elements();
    ELEK_CHECK(samples >= 1 && samples <= bound.program.batch && static_cast<int64_t>(given) == samples * each,
               "training: " + std::to_string(samples) + " samples in " + std::to_string(given) +
                   " elements, expected at most " + std::to_string(bound.program.batch) + " samples of " +
                   std::to_string(each));
    bound.samples = samples;
  }

  Model base;
  BoundProgram bound;
  std::vector<float> logits;
  std::vector<Parameter> list;
  bool ran = false;  // a forward pass whose values are still there
};

Trainer::Trainer(Model model, const TrainerOptions& options) : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;

std::span<const float> Trainer::forward(std::span<const uint8_t> pixels, int64_t samples) {
  impl_->start(samples, pixels.size());
  BoundProgram& bound = impl_->bound;
  cpu::preprocess(pixels.data(), bound.table.data(), bound.value(0), bound.program.threads);
  return impl_->run(samples);
}

std::span<const float> Trainer::forward_values(std::span<const float> x, int64_t samples) {
  impl_->start(samples, x.size());
  BoundProgram& bound = impl_->bound;
  cpu::from_nchw(x.data(), bound.value(0), bound.program.threads);
  return impl_->run(samples);
}

void Trainer::backward(std::span<const float> gradient, bool add) {
  BoundProgram& bound = impl_->bound;
  const int32_t output = bound.program.output;
  ELEK_CHECK(impl_->ran, "training: backward() needs a forward() of its own");
  ELEK_CHECK(std::ssize(gradient) == bound.samples * classes(), "training: a gradient of " + std::to_string(gradient.size()) +
                                                                    " numbers, expected " + std::to_string(bound.samples) +
                                                                    " x " + std::to_string(classes()));
  impl_->ran = false;
  cpu::from_nchw(gradient.data(), bound.value_gradient(output), bound.program.threads);
  bound.run_backward(add);
}

std::span<const Parameter> Trainer::parameters() const noexcept { return impl_->list; }
std::span<float> Trainer::parameter_slab() noexcept {
  return {impl_->bound.parameter(0), impl_->bound.program.parameter_floats};
}
const MemoryPlan& Trainer::plan() const noexcept { return impl_->bound.plan; }
int64_t Trainer::classes() const noexcept {
  return impl_->bound.program.values[at(impl_->bound.program.output)].shape.elements();
}
Model Trainer::model(MemoryResource& resource) const { return unfold(impl_->base, impl_->bound, resource); }

}  // namespace elek::train
