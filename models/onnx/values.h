// SPDX-License-Identifier: Apache-2.0
// What a value of an ONNX file can be while it is translated, and what a translation throws if it cannot go on.
// Tests: tests/models/onnx_import_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "elek/graph.h"
#include "models/onnx/axes.h"
#include "models/onnx/constant.h"

namespace elek::onnx {

/// Rows and columns of zeros around an image.
struct Border {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  [[nodiscard]] bool is_none() const noexcept { return top == 0 && left == 0 && bottom == 0 && right == 0; }
};

struct Pair {
  int64_t rows = 1, columns = 1;
  friend bool operator==(const Pair&, const Pair&) = default;
};
struct SlidingWindow {
  Pair kernel, stride, dilation;
  Border padding;
};

struct Activation {
  ValueId value = -1;  // in the network
  Axes axes;
  bool alone = false;                         // the next node is the only one that reads the network's value
  Border zeros{};                             // from a Pad: the next window reads them
  int64_t row_stride = 1, column_stride = 1;  // from a Slice that has not taken both yet
};

struct Integers {
  std::vector<int64_t> shape;  // of any rank; rank 0 = one number
  std::vector<Integer> values;
};

struct Unknown {};
using Value = std::variant<Unknown, Activation, Constant, Integers>;

/// Thrown by a translation: the node is one that elek does not have, and why.
struct Unsupported {
  std::string why;
};
/// Thrown by a translation: an input is the output of such a node. Nothing more to say about this one.
struct Skipped {};

}  // namespace elek::onnx
