// SPDX-License-Identifier: Apache-2.0
// A convolution by one of our own kernels instead of oneDNN's: Winograd or the direct product. The rest of the backend sees one
// kind of kernel: so many bytes of packed weights and scratch, pack once, run.
// Tests: tests/golden/session_test.cpp, tests/kernels/winograd_test.cpp, tests/kernels/gemm_conv_test.cpp
#pragma once

#include <string>
#include <variant>

#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/vectors.h"
#include "kernels/cpu/winograd.h"

namespace elek::backends::cpu {

class OwnConv {
 public:
  explicit OwnConv(kernels::cpu::WinogradPlan plan) : plan_(plan) {}
  explicit OwnConv(kernels::cpu::GemmConvPlan plan) : plan_(plan) {}

  [[nodiscard]] size_t packed_bytes() const {
    return std::visit([](const auto& plan) { return plan.packed_bytes; }, plan_);
  }
  [[nodiscard]] size_t scratch_bytes() const {
    return std::visit([](const auto& plan) { return plan.scratch_bytes; }, plan_);
  }
  /// Winograd's tiles of one sample; 0 for the direct product.
  [[nodiscard]] int64_t tiles() const {
    const auto* winograd = std::get_if<kernels::cpu::WinogradPlan>(&plan_);
    return winograd == nullptr ? 0 : winograd->tiles_high * winograd->tiles_wide;
  }
  /// Of the definition's multiply-adds, the share that it does: with Winograd's tile m (m + 2)^2 for 9 m^2, at the edges more.
  [[nodiscard]] double arithmetic() const {
    const auto* winograd = std::get_if<kernels::cpu::WinogradPlan>(&plan_);
    if (winograd == nullptr) return 1;
    return static_cast<double>(winograd->products) / static_cast<double>(9 * winograd->out_height * winograd->out_width);
  }
  /// "winograd F(4x4) AVX3", "direct AVX3"
  [[nodiscard]] std::string name() const {
    const auto* winograd = std::get_if<kernels::cpu::WinogradPlan>(&plan_);
    if (winograd == nullptr) return std::string("direct ") + kernels::cpu::instruction_set();
    const auto tile = std::to_string(static_cast<int>(winograd->problem.tile));
    return "winograd F(" + tile + "x" + tile + ") " + kernels::cpu::instruction_set();
  }
  /// weights: [K, C, kernel, kernel]; packed: packed_bytes()
  void pack(const float* weights, float* packed) const {
    if (const auto* winograd = std::get_if<kernels::cpu::WinogradPlan>(&plan_)) {
      kernels::cpu::pack_winograd_weights(*winograd, weights, packed);
    } else {
      kernels::cpu::pack_gemm_conv_weights(std::get<kernels::cpu::GemmConvPlan>(plan_), weights, packed);
    }
  }
  void run(const kernels::cpu::ConvArgs& args) const {
    if (const auto* winograd = std::get_if<kernels::cpu::WinogradPlan>(&plan_)) {
      kernels::cpu::winograd_conv(*winograd, args);
    } else {
      kernels::cpu::gemm_conv(std::get<kernels::cpu::GemmConvPlan>(plan_), args);
    }
  }

 private:
  std::variant<kernels::cpu::WinogradPlan, kernels::cpu::GemmConvPlan> plan_;
};

}  // namespace elek::backends::cpu
