// SPDX-License-Identifier: Apache-2.0
// Lowering for oneDNN: from fused steps to a Program with the bytes that this backend really needs, and Notes on how to run it.
// Tests: tests/golden/session_test.cpp
#pragma once

#include "backends/cpu/steps.h"
#include "backends/graph_lowerer.h"

namespace elek::backends::cpu {

/// By what a convolution gets its kernel.
struct Choosing {
  KernelTimes* times = nullptr;     // where these know: the fastest. Null: by the rule
  std::optional<ConvKernel> tried;  // where they do not: this one, if it fits, so that it can be timed; else by the rule
};

class Lowerer final : public GraphLowerer<Notes> {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Choosing& choosing = {});
  /// ContractError as Backend::lower.
  void lower();
  /// Our own kernel of this kind for step i; nothing if it does not fit (kLibrary: never one of ours).
  [[nodiscard]] std::optional<OwnConv> own_kernel(size_t i, ConvKernel kernel) const;

 private:
  void lay_out(ProgramTensor& tensor, const FusedNode* node, Kind kind) const override;
  [[nodiscard]] bool lies_flat(const ProgramTensor& tensor) const override { return tensor.layout == Layout::kNchw; }

  void choose_micro_batch();
  [[nodiscard]] Layout output_layout(const FusedNode& node) const;
  [[nodiscard]] Layout input_layout() const;
  void decide_last_acts();
  void build_kernels();
  void build_convolution(size_t step);
  void choose_convolutions();
  void choose_convolution(size_t step);
  [[nodiscard]] ConvKernel usual_kernel(size_t step) const;
  [[nodiscard]] bool may_choose(size_t step) const;
  [[nodiscard]] std::string conv_key(size_t step) const;
  void build_linear(size_t step);
  void reserve_slabs();
  [[nodiscard]] size_t packing_bytes(const Step& step) const;
  [[nodiscard]] int64_t slice_of(const Step& step) const;

  Choosing choosing_;
};

}  // namespace elek::backends::cpu
