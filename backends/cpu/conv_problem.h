// SPDX-License-Identifier: Apache-2.0
// What a kernel of this backend computes, as plain numbers: a convolution or a linear layer. Independent of libraries. A kernel
// that cannot compute a problem says so when it is made (conv_kernel.h).
// Tests: tests/backends/choose_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "elek/graph.h"
#include "elek/types.h"
#include "elek/window.h"

namespace elek::backends::cpu {

/// A convolution over `samples` samples. Channel counts are the network's; the layouts give the padding. Weights have the
/// source's type (kF32, kBF16), sums and bias are f32. The destination has the source's type or f32, and is rounded once.
struct ConvProblem {
  int64_t samples = 1;
  ImageShape src, dst;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Extent dilation = 1;
  int64_t groups = 1;
  Layout src_layout = Layout::kNchw;
  Layout dst_layout = Layout::kNchw;
  DType src_type = DType::kF32;
  DType dst_type = DType::kF32;
  bool sum = false;                      // dst = conv + dst, before ReLU
  bool relu = false;                     // turns NaN into 0
  size_t most_scratch_bytes = SIZE_MAX;  // a wish: our f32 kernels divide their work into smaller blocks
  std::optional<IntegerGrid> int8{};  // of the input, if quantised: weights are integers; src is f32, or integers of this grid
};

/// y = x W^T + bias: x [samples, in] with `src_pitch` elements between rows, y likewise. Types as ConvProblem's.
struct LinearProblem {
  int64_t samples = 1;
  int64_t in_features = 0;
  int64_t out_features = 0;
  int64_t src_pitch = 0;
  int64_t dst_pitch = 0;
  DType src_type = DType::kF32;
  DType dst_type = DType::kF32;
};

}  // namespace elek::backends::cpu
