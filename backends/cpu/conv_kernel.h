// SPDX-License-Identifier: Apache-2.0
// The kernels that convolve on the CPU: one closed set, oneDNN's among them. The rest of the backend sees one kind of object:
// so many bytes of packed weights and scratch, pack once, run. A new kernel is added here and in conv_kernel.cpp, gets its
// place in the rule (choose.cpp), and is then timed, chosen and run like the others. Tests: tests/backends/choose_test.cpp,
// tests/golden/session_test.cpp
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "backends/cpu/conv_problem.h"
#include "backends/cpu/onednn.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/winograd.h"

namespace elek::backends::cpu {

/// kDirect is the definition's own sums: of all channels (gemm_conv), or of one channel each (depthwise).
enum class ConvAlgorithm : uint8_t { kWinograd4, kWinograd2, kDirect, kLibrary };
inline constexpr std::array<ConvAlgorithm, 4> kConvAlgorithms{ConvAlgorithm::kWinograd4, ConvAlgorithm::kWinograd2,
                                                              ConvAlgorithm::kDirect, ConvAlgorithm::kLibrary};
[[nodiscard]] std::string_view name_of(ConvAlgorithm algorithm);  // "winograd F(4x4)", …, "oneDNN"

/// Whether its kernels do the epilogue (bias, residual, a clamp as activation, and sums) while they write the result. oneDNN's
/// do not: what its post-ops cannot do, a pass of ours does after it.
[[nodiscard]] constexpr bool does_epilogue(ConvAlgorithm algorithm) { return algorithm != ConvAlgorithm::kLibrary; }
/// Whether the algorithm can compute the problem on this machine. oneDNN can compute every one.
[[nodiscard]] bool fits(ConvAlgorithm algorithm, const ConvProblem& problem, int threads);

/// oneDNN's primitive for `slice` samples of a micro-batch at a time and, for samples left over, its primitive for one. Both
/// read one packed copy of the weights: where oneDNN has no fast kernel for one sample in the packing of many, the slice is one
/// sample.
class SlicedPrimitive {
 public:
  /// problem.samples is the slice. DeviceError as Primitive::make.
  explicit SlicedPrimitive(const ConvProblem& problem);
  explicit SlicedPrimitive(const LinearProblem& problem);
  [[nodiscard]] int64_t slice() const noexcept { return slice_; }
  [[nodiscard]] size_t scratch_bytes() const;
  [[nodiscard]] const Primitive& many() const noexcept { return *many_; }
  /// Of `slice` samples or of one.
  [[nodiscard]] const Primitive& of(int64_t samples) const { return samples == slice_ ? *many_ : *one_; }

 private:
  template <typename Problem>
  void make(Problem problem);
  int64_t slice_ = 1;
  std::unique_ptr<Primitive> many_;
  std::unique_ptr<Primitive> one_;  // null if slice is 1
};

/// What one call reads and writes. Sources and results are of the problem's types and layouts.
struct ConvCall {
  int64_t samples = 0;
  const void* src = nullptr;
  const void* packed = nullptr;
  const float* bias = nullptr;  // padded with zeros to the result's layout
  void* dst = nullptr;
  void* scratch = nullptr;
  // Read by kernels that do the epilogue; the others' is in their problem.
  const float* residual = nullptr;
  Activation activation{};
  const kernels::cpu::ChannelSums* sums = nullptr;
};

/// A convolution or linear layer made ready to run; a linear layer is always oneDNN's. Holds a little state: one run at a time.
class ConvKernel {
 public:
  /// The problem's samples are the most that a call may hold, with oneDNN those that it holds (or one). ContractError if the
  /// algorithm does not fit, DeviceError if oneDNN refuses.
  ConvKernel(ConvAlgorithm algorithm, const ConvProblem& problem, int threads);
  explicit ConvKernel(const LinearProblem& problem);

  [[nodiscard]] size_t packed_bytes() const;   // of the weights as run() wants them
  [[nodiscard]] size_t staged_bytes() const;   // of a copy that pack() goes through; 0 if it needs none
  [[nodiscard]] size_t scratch_bytes() const;  // run()'s workspace
  /// Of the definition's multiply-adds, the share that it does: with Winograd's tile m (m + 2)^2 for 9 m^2, at the edges more.
  [[nodiscard]] double arithmetic() const;
  [[nodiscard]] std::string name() const;  // "winograd F(4x4) AVX3", "direct AVX3", "depthwise AVX3", "oneDNN jit:avx512_core"
  [[nodiscard]] bool does_epilogue() const noexcept { return !std::holds_alternative<SlicedPrimitive>(plan_); }
  /// oneDNN's calls hold so many samples, or one. Kernels that do the epilogue take any number: 1.
  [[nodiscard]] int64_t slice() const noexcept;
  /// From [K, C/groups, R, S] (linear: [out, in]) to the kernel's own order. `staged` is room for staged_bytes().
  void pack(const float* weights, float* staged, void* packed) const;
  /// Allocates from no memory resource.
  void run(const ConvCall& call) const;

 private:
  ConvProblem problem_;
  std::variant<SlicedPrimitive, kernels::cpu::WinogradPlan, kernels::cpu::GemmConvPlan, kernels::cpu::DepthwisePlan> plan_;
};

}  // namespace elek::backends::cpu
