// SPDX-License-Identifier: Apache-2.0
// Lowering for oneDNN: from fused steps to a Program with the bytes that this backend really needs, and Notes on how to run it.
// Tests: tests/golden/session_test.cpp
#pragma once

#include <map>

#include "engine/backends/onednn/steps.h"

namespace elek::onednn {

class Lowerer {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options);
  /// ContractError as Backend::lower.
  void lower();
  Program program;
  Notes notes;

 private:
  void choose_micro_batch();
  void add_tensor(const std::string& name, ValueId value, Layout layout);
  void add_steps();
  void add_step(const FusedNode& fused_node);
  [[nodiscard]] Kind kind_of(const FusedNode& fused_node) const;
  [[nodiscard]] Layout output_layout(const FusedNode& fused_node) const;
  [[nodiscard]] Layout input_layout() const;
  void resolve_probes();
  void watch(const std::string& name, uint32_t sums);
  void watch_taps(const std::string& name);
  void decide_last_acts();
  void share_storages();
  [[nodiscard]] bool may_overwrite(size_t step, int32_t operand) const;
  void overwrite_or_own(size_t step);
  void build_kernels();
  void build_convolution(size_t step);
  void choose_convolutions();
  [[nodiscard]] std::optional<kernels::WinogradPlan> winograd_for(size_t step) const;
  void build_linear(size_t step);
  void add_moments(Step& step);
  void reserve_slabs();
  [[nodiscard]] size_t packing_bytes(const Step& step) const;
  [[nodiscard]] int64_t slice_of(const Step& step) const;

  [[nodiscard]] ProgramTensor& tensor(int32_t index) { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const ProgramTensor& tensor(int32_t index) const { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const std::string& name_of(ValueId value) const { return graph_.node(value).name; }

  const Model& model_;
  const Graph& graph_;
  const FusedGraph& fused_;
  std::map<ValueId, int32_t> tensor_of_;
};

}  // namespace elek::onednn
