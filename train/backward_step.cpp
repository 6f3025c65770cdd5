// SPDX-License-Identifier: Apache-2.0
// Backward steps, in the reverse order of the forward steps. Each takes the gradient of its y, and writes or adds to the
// gradients of its inputs. Tests: tests/train/trainer_test.cpp
#include <algorithm>
#include <string>

#include "core/error.h"
#include "train/bound_program.h"

namespace elek::train {

namespace cpu = kernels::cpu;

namespace {

/// The backward step of every operator without weights, to x. One that is missing here does not compile.
struct BackwardStep {
  const BoundProgram& bound;
  const TrainStep& step;
  size_t index;
  cpu::Values g = BoundProgram::const_view(bound.value_gradient(step.y));
  int threads = bound.program.threads;

  [[nodiscard]] bool wants(int32_t value) const { return value >= 0 && bound.program.values[at(value)].needs_gradient; }
  [[nodiscard]] cpu::Gradients dx() const { return bound.value_gradient(step.x); }

  void operator()(const MaxPoolAttrs& a) const {
    cpu::max_pool_backward(bound.read(step.x), g, dx(), pool_window(a), step.add_x, threads);
  }
  void operator()(const AvgPoolAttrs& a) const {
    cpu::avg_pool_backward(g, dx(), pool_window(a, a.count_include_pad), step.add_x, threads);
  }
  void operator()(const GlobalAvgPoolAttrs& /*a*/) const { cpu::global_avg_pool_backward(g, dx(), step.add_x, threads); }
  void operator()(const ChannelMapAttrs& a) const {
    cpu::channel_map_backward(g, a.source, a.stride, dx(), step.add_x, threads);
  }
  void operator()(const ChannelScaleAttrs& /*a*/) const {
    if (wants(step.second)) {
      cpu::channel_scale_backward_s(g, bound.read(step.x), bound.value_gradient(step.second), step.add_second, threads);
    }
    if (wants(step.x)) cpu::channel_scale_backward_x(g, bound.read(step.second), dx(), step.add_x, threads);
  }
  void operator()(const ConcatAttrs& /*a*/) const {
    // `second` first, as in the plan of which gradients are added to (mark_gradients()).
    const auto width = [&](int32_t value) { return bound.program.values[at(value)].shape.channels; };
    if (wants(step.second)) {
      cpu::concat_part_backward(g, width(step.x), bound.value_gradient(step.second), step.add_second, threads);
    }
    if (wants(step.x)) cpu::concat_part_backward(g, 0, dx(), step.add_x, threads);
    int64_t first = width(step.x) + width(step.second);
    for (size_t m = 0; m < step.more.size(); ++m) {
      if (wants(step.more[m])) {
        cpu::concat_part_backward(g, first, bound.value_gradient(step.more[m]), step.add_more[m], threads);
      }
      first += width(step.more[m]);
    }
  }
  void operator()(const FlattenAttrs& /*a*/) const { cpu::flatten_backward(g, dx(), step.add_x, threads); }
  void operator()(const AddAttrs& /*a*/) const {
    if (wants(step.second)) cpu::copy_gradient(g, bound.value_gradient(step.second), step.add_second, threads);
    if (wants(step.x)) cpu::copy_gradient(g, dx(), step.add_x, threads);
  }
  void operator()(const BatchNormAttrs& /*a*/) const {
    cpu::scale_backward(g, bound.affine.at(index).data(), dx(), step.add_x, threads);
  }
  template <typename Op>
  void operator()(const Op& a) const {
    if constexpr (Op::kClass == OpClass::kActivation) {
      const Activation activation = a.activation();
      const int32_t of = cpu::derivative_from_output(activation) ? step.y : step.x;
      cpu::activation_backward(activation, bound.read(of), bound.value_gradient(step.y), threads);
      cpu::copy_gradient(g, dx(), step.add_x, threads);
    } else {
      static_assert(std::is_same_v<Op, InputAttrs> || std::is_same_v<Op, Conv2dAttrs> || std::is_same_v<Op, LinearAttrs>,
                    "training has no backward step for this operator");
      ELEK_CHECK(false, "'" + step.node.node.name + "' has its own function");
    }
  }
};

/// flipped[c][k][r][s] = w[k][c][R-1-r][S-1-s]
void flip(const float* w, const Shape& shape, float* flipped) {
  const int64_t outputs = shape[0], inputs = shape[1], taps = shape[2] * shape[3];
  for (int64_t k = 0; k < outputs; ++k)
    for (int64_t c = 0; c < inputs; ++c)
      for (int64_t tap = 0; tap < taps; ++tap) {
        flipped[(c * outputs + k) * taps + taps - 1 - tap] = w[(k * inputs + c) * taps + tap];
      }
}

}  // namespace

/// dx (+)= the convolution of the gradient with the flipped, transposed weights.
void BoundProgram::input_gradient(size_t index, const cpu::Gradients& g) {
  const TrainStep& step = program.steps[index];
  const TrainLayer& layer = program.layers[at(step.layer)];
  const cpu::Gradients dx = value_gradient(step.x);
  if (!layer.plans.input_gradient) {
    cpu::grouped_input_gradient(layer.plans.conv, const_view(g), parameter(layer.weight_at), dx, step.add_x, program.threads);
    return;
  }
  const InputWorkspace at_floats = input_workspace(layer.plans, program.batch);
  float* const space = workspace(program.backward_time(index));
  cpu::Gradients from = g;
  from.shape = layer.plans.spread;
  if (layer.plans.conv.window.stride != Extent(1)) {
    from.data = space + at_floats.spread;
    cpu::spread(const_view(g), layer.plans.conv.window.stride, from, program.threads);
  }
  flip(parameter(layer.weight_at), layer.weight, space + at_floats.flipped);
  layer.plans.input_gradient->pack(space + at_floats.flipped, space);
  std::fill_n(space + at_floats.bias, dx.channel_pitch, 0.0F);
  cpu::ConvArgs args;
  args.x = const_view(from);
  args.packed = space;
  args.bias = space + at_floats.bias;
  if (step.add_x) args.residual = const_view(dx);
  args.y = dx;
  args.scratch = space + at_floats.scratch;
  layer.plans.input_gradient->run(args);
}

void BoundProgram::layer_backward(size_t index, const cpu::Gradients& g, bool adds) {
  const TrainStep& step = program.steps[index];
  const TrainLayer& layer = program.layers[at(step.layer)];
  if (step.second >= 0 && program.values[at(step.second)].needs_gradient) {
    cpu::copy_gradient(const_view(g), value_gradient(step.second), step.add_second, program.threads);
  }
  if (layer.has_bias) cpu::bias_gradient(const_view(g), gradient(layer.bias_at), adds, program.threads);
  if (layer.plans.weight_gradient) {
    cpu::weight_gradient(*layer.plans.weight_gradient, read(step.x), const_view(g), workspace(program.backward_time(index)),
                         gradient(layer.weight_at), adds);
  } else {
    cpu::grouped_weight_gradient(layer.plans.conv, read(step.x), const_view(g), gradient(layer.weight_at), adds,
                                 program.threads);
  }
  if (program.values[at(step.x)].needs_gradient) input_gradient(index, g);
}

void BoundProgram::run_backward(bool adds) {
  for (size_t i = program.steps.size(); i-- > 0;) {
    const TrainStep& step = program.steps[i];
    if (!program.values[at(step.y)].needs_gradient) continue;
    if (step.layer < 0) {
      const bool any =
          program.values[at(step.x)].needs_gradient || (step.second >= 0 && program.values[at(step.second)].needs_gradient);
      if (any) std::visit(BackwardStep{*this, step, i}, step.node.node.attrs);
      continue;
    }
    const cpu::Gradients g = value_gradient(step.y);
    cpu::activation_backward(step.activation, read(step.y), g, program.threads);
    layer_backward(i, g, adds);
  }
}

}  // namespace elek::train
