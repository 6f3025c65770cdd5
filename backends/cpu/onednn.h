// SPDX-License-Identifier: Apache-2.0
// The two oneDNN primitives that elek uses, convolution and matrix product, behind a small interface. The only files that see
// oneDNN's headers are this pair's, and only onednn.cpp knows that 2.x (descriptor + primitive descriptor) and 3.x
// (primitive descriptor alone) differ.
//
// oneDNN is told padded channel counts (multiples of the layout's block) with zero weights in the padding, so that it never has
// to clear padding lanes itself: that would cost it a pass over every tensor of a pruned network.
// Tests: tests/golden/session_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/cpu/conv_problem.h"
#include "elek/types.h"

namespace elek::backends::cpu {

/// The layout that this machine's kernels are fastest in: nChw16c, nChw8c or plain nchw; for bf16 where there are tiles (AMX)
/// nhwc, the only one that oneDNN's kernels for tiles read.
[[nodiscard]] Layout preferred_layout(DType storage);
/// Whether oneDNN multiplies bf16 in hardware here. (On AVX-512 without it, it would emulate, slower than f32.)
[[nodiscard]] bool has_bf16() noexcept;
/// "oneDNN 2.6.3"
[[nodiscard]] std::string library_name();

/// A primitive, built once. Holds a little state of its own, so one thread at a time runs it.
class Primitive {
 public:
  /// With `like`, the same weights layout as that primitive's, so that both share one packed copy; nullptr where oneDNN has no
  /// fast kernel for that. DeviceError if oneDNN refuses.
  [[nodiscard]] static std::unique_ptr<Primitive> make(const ConvProblem& problem, const Primitive* like = nullptr);
  [[nodiscard]] static std::unique_ptr<Primitive> make(const LinearProblem& problem, const Primitive* like = nullptr);
  Primitive(const Primitive&) = delete;
  Primitive& operator=(const Primitive&) = delete;
  ~Primitive();

  [[nodiscard]] size_t packed_bytes() const noexcept;   // of the weights as run() wants them
  [[nodiscard]] size_t staged_bytes() const noexcept;   // of the padded plain weights that pack() goes through; 0 if unneeded
  [[nodiscard]] size_t scratch_bytes() const noexcept;  // run()'s workspace
  [[nodiscard]] const std::string& kernel() const noexcept;
  /// From [K, C/groups, R, S] (linear: [out, in]) to the kernel's own order. `staged` is room for staged_bytes().
  void pack(const float* weights, float* staged, void* packed) const;
  /// bias: padded to the dst layout's block with zeros. Allocates from no memory resource.
  void run(const void* src, const void* packed, const float* bias, void* dst, void* scratch) const;

 private:
  struct Impl;
  explicit Primitive(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace elek::backends::cpu
