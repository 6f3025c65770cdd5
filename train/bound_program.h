// SPDX-License-Identifier: Apache-2.0
// A training program with its memory: what Trainer holds. Internal to train/. Tests: tests/train/trainer_test.cpp
#pragma once

#include <map>
#include <vector>

#include "core/at.h"
#include "train/program.h"
#include "train/trainer.h"

namespace elek::train {

struct BoundProgram {
  BoundProgram(const Model& model, const TrainerOptions& options);

  void run_forward();
  /// The output's gradient must be there. `adds`: to the parameters' gradients.
  void run_backward(bool adds);

  [[nodiscard]] float* parameter(size_t at) const { return static_cast<float*>(parameters.data()) + at; }
  [[nodiscard]] float* gradient(size_t at) const { return static_cast<float*>(gradients.data()) + at; }
  [[nodiscard]] kernels::cpu::Gradients value(int32_t index) const;
  [[nodiscard]] kernels::cpu::Gradients value_gradient(int32_t index) const;
  [[nodiscard]] kernels::cpu::Values read(int32_t index) const { return const_view(value(index)); }
  [[nodiscard]] static kernels::cpu::Values const_view(const kernels::cpu::Gradients& v) {
    return {v.data, v.samples, v.shape, v.layout, v.channel_pitch};
  }
  [[nodiscard]] float* workspace(int32_t time) const;
  /// y = act(scale * z + shift + residual)
  void run_epilogue(const TrainStep& step, const kernels::cpu::Gradients& z, const float* scale, const float* shift,
                    const float* residual, const Activation& activation) const;

  TrainProgram program;
  MemoryPlan plan;
  Buffer parameters, gradients, arena;
  std::map<size_t, std::vector<float>> affine;  // by step: scale and shift of batch norms that stand alone
  std::vector<float> table;                     // preprocessing
  int64_t samples = 0;                          // of the last forward pass

 private:
  [[nodiscard]] kernels::cpu::Gradients view(int32_t storage, const ImageShape& shape) const;
  void run_layer(size_t index);
  void layer_backward(size_t index, const kernels::cpu::Gradients& g, bool adds);
  void input_gradient(size_t index, const kernels::cpu::Gradients& g);
};

/// The model with the bound parameters in place of its own.
[[nodiscard]] Model unfold(const Model& base, const BoundProgram& bound, MemoryResource& resource);

}  // namespace elek::train
