// SPDX-License-Identifier: Apache-2.0
// Lowering for oneDNN: from fused steps to a Program with the bytes that this backend really needs, and Notes on how to run it.
// Tests: tests/golden/session_test.cpp
#pragma once

#include "engine/backends/graph_lowerer.h"
#include "engine/backends/onednn/steps.h"

namespace elek::onednn {

class Lowerer final : public backends::GraphLowerer<Notes> {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options);
  /// ContractError as Backend::lower.
  void lower();

 private:
  void lay_out(ProgramTensor& tensor, const FusedNode* node, Kind kind) const override;
  [[nodiscard]] bool lies_flat(const ProgramTensor& tensor) const override { return tensor.layout == Layout::kNchw; }
  [[nodiscard]] kernels::TapNormPlan plan_taps(const ImageShape& input, const Conv2dAttrs& conv) const override;

  void choose_micro_batch();
  [[nodiscard]] Layout output_layout(const FusedNode& node, Kind kind) const;
  [[nodiscard]] Layout input_layout() const;
  void decide_last_acts();
  void build_kernels();
  void build_convolution(size_t step);
  void choose_convolutions();
  [[nodiscard]] std::optional<kernels::WinogradPlan> winograd_for(size_t step) const;
  [[nodiscard]] std::optional<OwnConv> own_kernel_for(size_t step) const;
  void build_linear(size_t step);
  void reserve_slabs();
  [[nodiscard]] size_t packing_bytes(const Step& step) const;
  [[nodiscard]] int64_t slice_of(const Step& step) const;
};

}  // namespace elek::onednn
