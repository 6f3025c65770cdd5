// SPDX-License-Identifier: Apache-2.0
// Lowering for cuDNN: from fused steps to a Program with the bytes that this backend really needs, and Notes on how to run it.
// Tests: tests/deviceless/lower_test.cpp
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/backends/cudnn/plan_store.h"
#include "engine/backends/cudnn/steps.h"

namespace elek::cudnn {

class Lowerer {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Target& target);
  /// ContractError as Backend::lower, DeviceError naming the layer if a convolution has no kernel at all.
  void lower();
  Program program;
  Notes notes;

 private:
  /// The problems that a convolution step may be run as.
  struct Wanted {
    std::optional<ConvProblem> fused;  // sums inside
    std::string no_fused;              // why not, where sums were asked for
    std::optional<ConvProblem> tail;   // everything but the sums
    ConvProblem raw;
  };
  // lower.cpp
  void check_options() const;
  void add_tensor(const std::string& name, ValueId value, DType dtype);
  void add_steps();
  void add_step(const FusedNode& fused_node);
  [[nodiscard]] Kind kind_of(const FusedNode& fused_node) const;
  void resolve_probes();
  void watch(const std::string& name, uint32_t sums);
  void watch_taps(const std::string& name);
  void decide_last_acts();
  void share_storages();
  [[nodiscard]] bool may_overwrite(size_t step, int32_t operand) const;
  // lower_kernels.cpp
  [[nodiscard]] Wanted wanted_of(size_t step) const;
  void build_convolutions();
  void choose_way(size_t step, const Wanted& wanted);
  [[nodiscard]] WayOption split_option(size_t step, const Wanted& wanted, const Planned** plan);
  [[nodiscard]] double pass_us(size_t step, Way way);
  void build_linear(size_t step);
  void build_rest();
  void reserve_workspace(size_t step, size_t library_bytes);
  void add_moments(Step& step);
  void reserve_slabs();
  void reserve_parameters(size_t step);
  void reserve_statistics();
  [[nodiscard]] uint32_t sums_of(const Step& step) const;

  [[nodiscard]] ProgramTensor& tensor(int32_t index) { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const ProgramTensor& tensor(int32_t index) const { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const std::string& name_of(ValueId value) const { return graph_.node(value).name; }

  const Graph& graph_;
  const FusedGraph& fused_;
  const Target& target_;
  PlanStore plans_;
  std::map<ValueId, int32_t> tensor_of_;
  std::map<std::string, double> pass_times_;
};

}  // namespace elek::cudnn
