// SPDX-License-Identifier: Apache-2.0
// The two oneDNN primitives that elek uses, convolution and matrix product, behind a small interface. Only onednn.cpp includes
// oneDNN's headers, and only it knows the difference between 2.x (descriptor + primitive descriptor) and 3.x (primitive
// descriptor alone). In a build without oneDNN (ELEK_ONEDNN=OFF) onednn_absent.cpp stands in its place.
//
// oneDNN gets padded channel counts (multiples of the layout's block) and zero weights in the padding. Otherwise it would clear
// the padding itself, one more pass over every tensor of a pruned network.
// Tests: tests/golden/session_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/cpu/conv_problem.h"
#include "elek/types.h"

namespace elek::backends::cpu {

/// Whether oneDNN is part of this build. Without it our own kernels compute everything, in f32 only.
[[nodiscard]] bool library_is_built_in() noexcept;
/// Whether oneDNN multiplies bf16 in tiles (AMX) here. Its kernels for tiles read only nhwc.
[[nodiscard]] bool has_tiles() noexcept;
/// False where oneDNN has only reference code, many times slower than any kernel (on ARM without SVE), and where there is none.
[[nodiscard]] bool library_has_kernels() noexcept;
/// Whether oneDNN multiplies bf16 in hardware here. (On AVX-512 without it, oneDNN would emulate it, slower than f32.)
[[nodiscard]] bool has_bf16() noexcept;
/// "oneDNN 2.6.3", "no oneDNN"
[[nodiscard]] std::string library_name();

/// A convolution or linear layer by oneDNN, built once. Holds some state: one run at a time.
/// Work is divided by us: each part is a primitive of one thread, and core/threads.h runs the parts. oneDNN's own threads are
/// OpenMP's, which spin between layers. A part has some of the samples; where these are too few, some of the output channels
/// (or, if the layout has channels innermost, some of the rows).
class Primitive {
 public:
  /// A run holds at most problem.samples samples. DeviceError if oneDNN refuses.
  [[nodiscard]] static std::unique_ptr<Primitive> make(const ConvProblem& problem, int threads);
  [[nodiscard]] static std::unique_ptr<Primitive> make(const LinearProblem& problem, int threads);
  Primitive(const Primitive&) = delete;
  Primitive& operator=(const Primitive&) = delete;
  ~Primitive();

  [[nodiscard]] size_t packed_bytes() const noexcept;   // of the weights in the order of run()
  [[nodiscard]] size_t staged_bytes() const noexcept;   // of the padded plain weights that pack() makes first; 0 if not needed
  [[nodiscard]] size_t scratch_bytes() const noexcept;  // run()'s workspace
  [[nodiscard]] const std::string& kernel() const noexcept;
  /// From [K, C/groups, R, S] (linear: [out, in]) to the kernel's own order. `staged` has room for staged_bytes().
  void pack(const float* weights, float* staged, void* packed) const;
  /// bias: padded with zeros to the dst layout's block. Allocates from no memory resource.
  void run(int64_t samples, const void* src, const void* packed, const float* bias, void* dst, void* scratch) const;

 private:
  struct Impl;
  explicit Primitive(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace elek::backends::cpu
