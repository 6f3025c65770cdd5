// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp
#include "elek/ops/pool.h"

#include "core/error.h"

namespace elek {

ImageShape PoolAttrs::infer(const NodeInputs& inputs) const {
  const ImageShape shape = inputs.slide(inputs[0].channels, window(), padding);
  // A window that lies only in the padding has no maximum. PyTorch refuses it in the same way.
  ELEK_CHECK(2 * padding <= kernel, inputs.who() + "padding expected at most half the kernel " + std::to_string(kernel) +
                                        ", got " + std::to_string(padding));
  return shape;
}

}  // namespace elek
