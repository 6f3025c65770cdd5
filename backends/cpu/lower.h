// SPDX-License-Identifier: Apache-2.0
// Lowering for the CPU: turns fused steps into a Program, with the bytes that this backend really needs, and Notes on how to
// run it. Tests: tests/golden/session_test.cpp
#pragma once

#include "backends/cpu/choose.h"
#include "backends/cpu/kernel_times.h"
#include "backends/cpu/quantised.h"
#include "backends/cpu/steps.h"
#include "backends/graph_lowerer.h"

namespace elek::backends::cpu {

/// How a convolution's kernel is chosen, besides the rule.
struct Choosing {
  KernelTimes* times = nullptr;        // times measured so far; null: the rule alone decides
  std::optional<ConvAlgorithm> tried;  // for convolutions without measured times, if it fits, so that it can be timed
  size_t most_workspace = SIZE_MAX;    // Backend::limit_workspace
};

class Lowerer final : public GraphLowerer<Notes> {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Choosing& choosing = {});
  /// ContractError as Backend::lower.
  void lower();
  /// Whether the algorithm may compute a convolution step.
  [[nodiscard]] bool may_run(size_t step, ConvAlgorithm algorithm) const;

 private:
  void lay_out(ProgramTensor& tensor, const FusedNode* node, Kind kind) const override;
  [[nodiscard]] bool lies_flat(const ProgramTensor& tensor) const override { return tensor.layout == Layout::kNchw; }

  void choose_micro_batch();
  [[nodiscard]] Layout output_layout(const FusedNode& node) const;
  [[nodiscard]] Layout input_layout() const;
  void decide_epilogues();
  // lower_kernels.cpp
  [[nodiscard]] ConvCase case_of(size_t step) const;
  void choose_convolutions();
  void choose_convolution(size_t step);
  [[nodiscard]] ConvAlgorithm within_workspace(const ConvCase& conv, ConvAlgorithm usual) const;
  void build_kernels();
  void build_convolution(size_t step);
  void build_linear(size_t step);
  void reserve_workspace(size_t step);
  [[nodiscard]] int64_t slice_of(const Step& step) const;
  // slabs.cpp
  void reserve_slabs();
  [[nodiscard]] size_t packing_bytes(size_t step) const;

  Choosing choosing_;
  QuantisedValues quantised_;
  const Quantization& quantization_;
  uint64_t parameters_ = 0;  // of the whole network
};

}  // namespace elek::backends::cpu
