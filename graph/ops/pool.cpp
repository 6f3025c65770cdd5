// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp
#include "elek/ops/pool.h"

#include <algorithm>

#include "core/error.h"

namespace elek {

ImageShape PoolAttrs::infer(const NodeInputs& inputs) const {
  const ImageShape shape = inputs.slide(inputs[0].channels, window(), rounding());
  // A window that lies only in the padding has no maximum and no mean.
  ELEK_CHECK(std::max(padding.top, padding.bottom) < kernel.height && std::max(padding.left, padding.right) < kernel.width,
             inputs.who() + "padding expected smaller than the kernel " + to_string(kernel) + ", got " + to_string(padding));
  return shape;
}

}  // namespace elek
