// SPDX-License-Identifier: Apache-2.0
// The kernels that convolve on the CPU: a closed set that includes oneDNN's. The rest of the backend sees one kind of object:
// it needs some bytes for packed weights and scratch, packs once, and runs. To add a kernel, add it here and in
// conv_kernel.cpp, and give it a place in the rule (choose.cpp). It is then timed, chosen and run like the others.
// Tests: tests/backends/choose_test.cpp, tests/golden/session_test.cpp
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "backends/cpu/conv_problem.h"
#include "backends/cpu/onednn.h"
#include "elek/graph.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/narrow_conv.h"
#include "kernels/cpu/winograd.h"

namespace elek::backends::cpu {

/// kDirect computes the sums of the definition: over all channels (gemm_conv), or in each channel alone (depthwise).
/// kInt8 alone computes quantised convolutions, and nothing else.
enum class ConvAlgorithm : uint8_t { kWinograd4, kWinograd2, kDirect, kLibrary, kInt8 };
/// Those among which times may decide.
inline constexpr std::array<ConvAlgorithm, 4> kConvAlgorithms{ConvAlgorithm::kWinograd4, ConvAlgorithm::kWinograd2,
                                                              ConvAlgorithm::kDirect, ConvAlgorithm::kLibrary};
[[nodiscard]] std::string_view name_of(ConvAlgorithm algorithm);  // "winograd F(4x4)", …, "oneDNN"

/// Whether its kernels can do the epilogue (bias, residual, a clamp as activation, and sums) while they write the result.
/// oneDNN's cannot: our pass after it does what its post-ops cannot.
[[nodiscard]] constexpr bool does_epilogue(ConvAlgorithm algorithm) { return algorithm != ConvAlgorithm::kLibrary; }
/// Whether the algorithm can compute the problem on this machine. oneDNN, if it is built in, can compute every one that is not
/// quantised.
[[nodiscard]] bool fits(ConvAlgorithm algorithm, const ConvProblem& problem, int threads);

/// What one call reads and writes. Sources and results have the problem's types and layouts.
struct ConvCall {
  int64_t samples = 0;
  const void* src = nullptr;
  const void* packed = nullptr;
  const float* bias = nullptr;  // padded with zeros to the result's layout
  void* dst = nullptr;
  void* scratch = nullptr;
  // Only for our kernels; for oneDNN's the problem says what to do.
  const void* residual = nullptr;
  Activation activation{};
  kernels::cpu::StoredAs residual_stored;
  // Only for kInt8.
  float dst_scale = 1;
  std::optional<IntegerGrid> dst_grid;
  const kernels::cpu::ChannelSums* sums = nullptr;
};

/// A convolution or linear layer, ready to run. A linear layer uses oneDNN where that has kernels, else our own. Holds some
/// state: one run at a time.
class ConvKernel {
 public:
  /// A call may hold at most the problem's samples. ContractError if the algorithm does not fit, DeviceError if oneDNN refuses.
  ConvKernel(ConvAlgorithm algorithm, const ConvProblem& problem, int threads);
  ConvKernel(const LinearProblem& problem, int threads);

  [[nodiscard]] size_t packed_bytes() const;   // of the weights in the order of run()
  [[nodiscard]] size_t staged_bytes() const;   // of a temporary copy for pack(); 0 if it needs none
  [[nodiscard]] size_t scratch_bytes() const;  // run()'s workspace
  /// The share of the definition's multiply-adds that it does. Winograd with tile m: (m + 2)^2 / (9 m^2), more at the edges.
  [[nodiscard]] double arithmetic() const;
  /// "winograd F(4x4) AVX3", "direct AVX3", "depthwise AVX3", "linear AVX3", "oneDNN jit:avx512_core"
  [[nodiscard]] std::string name() const;
  /// Most samples of a call.
  [[nodiscard]] int64_t samples() const noexcept { return samples_; }
  /// From [K, C/groups, R, S] (linear: [out, in]) to the kernel's own order. `staged` has room for staged_bytes().
  void pack(const float* weights, float* staged, void* packed) const;
  /// The same for a quantised convolution: integers and their scales, one per output channel. The caller may keep the integers
  /// in the staged_bytes().
  void pack(std::span<const int8_t> weights, std::span<const float> scales, void* packed) const;
  /// Allocates from no memory resource.
  void run(const ConvCall& call) const;

 private:
  using Library = std::unique_ptr<Primitive>;
  using Plan = std::variant<Library, kernels::cpu::WinogradPlan, kernels::cpu::GemmConvPlan, kernels::cpu::DepthwisePlan,
                            kernels::cpu::LinearPlan, kernels::cpu::NarrowConvPlan>;
  static Plan plan(ConvAlgorithm algorithm, const ConvProblem& problem, int threads);
  static Plan plan(const LinearProblem& problem, int threads);
  ConvProblem problem_;  // of a convolution
  int64_t samples_ = 1;
  Plan plan_;
};

}  // namespace elek::backends::cpu
