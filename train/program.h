// SPDX-License-Identifier: Apache-2.0
// The training program: the steps of a network forward and backward, and when each value and each gradient is alive. Plain
// data, like Program (plan/program.h), and planned by the same planner.
// Time has 2N+1 points for N steps: step i runs forward at time i, the loss is at time N, step i runs backward at time 2N-i. A
// value lives until the last backward step that reads it, a gradient from its first reader's backward step to its maker's.
// Batch norm is folded into its convolution, so it needs no backward step; its statistics do not change.
// Tests: tests/train/program_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "graph/passes.h"
#include "kernels/cpu/conv_weight_gradient.h"
#include "kernels/cpu/grouped_conv.h"
#include "plan/program.h"
#include "train/dense_conv.h"

namespace elek::train {

/// An activation, and its gradient.
struct TrainValue {
  std::string name;
  ImageShape shape;
  bool needs_gradient = false;  // some layer with weights lies before it
  int32_t storage = -1;         // indices into TrainProgram::memory.storages
  int32_t gradient_storage = -1;
};

/// How one layer with weights runs. Without plans (groups, or a window larger than the image) it runs by grouped_conv.
struct ConvPlans {
  kernels::cpu::GroupedConv conv;
  std::optional<DenseConv> forward;
  std::optional<DenseConv> input_gradient;  // a convolution of the gradient with flipped, transposed weights
  std::optional<kernels::cpu::WeightGradientPlan> weight_gradient;
  ImageShape spread;  // size of the gradient with zeros between its values, for strides
};

struct TrainStep {
  FusedNode node;  // attrs, names, batch norm; its activation is the one below
  int32_t x = -1;  // indices into values
  int32_t second = -1;
  std::vector<int32_t> more;  // further inputs, of a concatenation
  int32_t y = -1;
  Activation activation;  // runs inside the step; its derivative follows from y
  int32_t layer = -1;     // index into layers, if the step has weights
  bool add_x = false;     // the step adds its gradient to x's, because another step wrote there before
  bool add_second = false;
  std::vector<bool> add_more;
  /// x, second and more, as far as there are.
  [[nodiscard]] std::vector<int32_t> inputs() const;
};

struct TrainLayer {
  int32_t step = -1;
  Shape weight;            // [K, C/groups, R, S]
  bool has_bias = false;   // a batch norm or the layer's own bias takes it
  size_t weight_at = 0;    // floats from the parameters' begin
  size_t bias_at = 0;      // the bias is padded with zeros to a channel block
  size_t bias_floats = 0;  // with padding
  ConvPlans plans;
};

struct TrainProgram {
  int64_t batch = 0;
  int threads = 1;
  Layout layout = Layout::kNChw16c;
  std::vector<TrainValue> values;  // 0 is the input
  std::vector<TrainStep> steps;    // steps[i] runs forward at time i + 1; time 0 fills the input
  std::vector<TrainLayer> layers;
  int32_t output = -1;
  size_t parameter_floats = 0;
  Program memory;  // storages and workspaces over all times; its steps carry names and workspaces only
  [[nodiscard]] int32_t forward_time(size_t step) const { return static_cast<int32_t>(step) + 1; }
  [[nodiscard]] int32_t loss_time() const { return static_cast<int32_t>(steps.size()) + 1; }
  [[nodiscard]] int32_t backward_time(size_t step) const { return 2 * loss_time() - forward_time(step); }
};

[[nodiscard]] inline kernels::PoolWindow pool_window(const PoolAttrs& a, bool counts_padding = true) {
  return {a.kernel, a.stride, a.padding, a.rounding(), counts_padding};
}

/// Where a step's workspace holds what, in floats. Packed weights lie at its begin.
struct Workspace {
  size_t scratch = 0;
  size_t end = 0;
};
struct InputWorkspace : Workspace {
  size_t flipped = 0;  // transposed weights before they are packed
  size_t bias = 0;     // zeros
  size_t spread = 0;   // the gradient with zeros between its values
};
[[nodiscard]] Workspace workspace_of(const DenseConv& conv);
[[nodiscard]] InputWorkspace input_workspace(const ConvPlans& plans, int64_t samples);

/// The program for batches of up to `batch` samples. ContractError if the graph has no layer with weights.
[[nodiscard]] TrainProgram make_train_program(const Graph& graph, int64_t batch, int threads);

}  // namespace elek::train
