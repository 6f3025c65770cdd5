// SPDX-License-Identifier: Apache-2.0
// Lowering for a GPU: turns fused steps into a Program, with the bytes that this backend really needs, and Notes on how to run
// it. Tests: tests/deviceless/lower_test.cpp
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/plan_store.h"
#include "backends/cuda/steps.h"
#include "backends/graph_lowerer.h"

namespace elek::backends::cuda {

class Lowerer final : public GraphLowerer<Notes> {
 public:
  Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Target& target);
  /// ContractError as Backend::lower. DeviceError naming the layer if a convolution has no kernel at all.
  void lower();

 private:
  /// One way to run a convolution step.
  struct Way {
    Fusion fusion = Fusion::kAll;
    ConvProblem problem;
    bool extra = false;  // asked for only where it can be timed, or where nothing else has a kernel
  };
  struct Ways {
    std::vector<Way> all;
    std::string no_sums;  // the reason why none takes sums inside, although sums were asked for
  };
  // lower.cpp
  void lay_out(ProgramTensor& tensor, const FusedNode* node, Kind kind) const override;
  [[nodiscard]] bool lies_flat(const ProgramTensor& tensor) const override { return tensor.shape.positions() == 1; }
  void decide_epilogues();
  // lower_kernels.cpp
  [[nodiscard]] Ways ways_of(size_t step) const;
  void build_convolutions();
  void choose_way(size_t step, const Ways& ways);
  void choose_place(size_t step);
  [[nodiscard]] FusionOption option_of(size_t step, const Way& way);
  [[nodiscard]] double pass_us(size_t step, Fusion fusion);
  void build_linear(size_t step);
  void build_rest();
  void reserve_workspace(size_t step, size_t library_bytes);
  // slabs.cpp
  void reserve_slabs();
  void reserve_parameters(size_t step);
  void reserve_statistics();

  const Target& target_;
  PlanStore plans_;
  std::map<std::string, double> pass_times_;
};

}  // namespace elek::backends::cuda
