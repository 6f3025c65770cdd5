// SPDX-License-Identifier: Apache-2.0
// A convolution without groups, forward, for training: by Winograd F(4x4) where it fits (3x3, stride 1), otherwise by the
// direct kernel. The same rule as in a session. Weights change with every step, so they are packed before every run, into the
// workspace. Tests: tests/train/trainer_test.cpp
#pragma once

#include <cstddef>
#include <optional>
#include <variant>

#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/winograd.h"

namespace elek::train {

class DenseConv {
 public:
  /// Nothing if the image is smaller than the kernel.
  [[nodiscard]] static std::optional<DenseConv> plan(const kernels::cpu::GemmConvProblem& problem);

  [[nodiscard]] const kernels::cpu::GemmConvProblem& problem() const noexcept { return problem_; }
  [[nodiscard]] size_t packed_bytes() const;
  [[nodiscard]] size_t scratch_bytes() const;
  void pack(const float* weights, float* packed) const;
  void run(const kernels::cpu::ConvArgs& args) const;

 private:
  using Plan = std::variant<kernels::cpu::GemmConvPlan, kernels::cpu::WinogradPlan>;
  DenseConv(const kernels::cpu::GemmConvProblem& problem, Plan plan) : problem_(problem), plan_(std::move(plan)) {}
  kernels::cpu::GemmConvProblem problem_;
  Plan plan_;
};

}  // namespace elek::train
