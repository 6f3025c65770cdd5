// SPDX-License-Identifier: Apache-2.0
// See dense_conv.h. Tests: tests/train/trainer_test.cpp
#include "train/dense_conv.h"

namespace elek::train {

namespace cpu = kernels::cpu;

std::optional<DenseConv> DenseConv::plan(const cpu::GemmConvProblem& p) {
  if (p.kernel == Extent(3) && p.stride == Extent(1) && p.dilation == Extent(1) && p.padding.is_even()) {
    auto winograd = cpu::plan_winograd({p.samples, p.channels, p.out_channels, p.height, p.width, p.padding.top, p.layout,
                                        cpu::WinogradTile::k4x4, p.threads});
    if (winograd) return DenseConv(p, std::move(winograd).value());
  }
  auto direct = cpu::plan_gemm_conv(p);
  if (!direct) return std::nullopt;
  return DenseConv(p, std::move(direct).value());
}

size_t DenseConv::packed_bytes() const {
  return std::visit([](const auto& plan) { return plan.packed_bytes; }, plan_);
}
size_t DenseConv::scratch_bytes() const {
  return std::visit([](const auto& plan) { return plan.scratch_bytes; }, plan_);
}

void DenseConv::pack(const float* weights, float* packed) const {
  if (const auto* winograd = std::get_if<cpu::WinogradPlan>(&plan_))
    return cpu::pack_winograd_weights(*winograd, weights, packed);
  cpu::pack_gemm_conv_weights(std::get<cpu::GemmConvPlan>(plan_), weights, packed);
}

void DenseConv::run(const cpu::ConvArgs& args) const {
  if (const auto* winograd = std::get_if<cpu::WinogradPlan>(&plan_)) return cpu::winograd_conv(*winograd, args);
  cpu::gemm_conv(std::get<cpu::GemmConvPlan>(plan_), args);
}

}  // namespace elek::train
