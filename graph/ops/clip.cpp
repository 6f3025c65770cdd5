// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/op_test.cpp
#include "elek/ops/clip.h"

#include "core/error.h"

namespace elek {

ImageShape ClipAttrs::infer(const NodeInputs& inputs) const {
  ELEK_CHECK(low <= high,
             inputs.who() + "low expected at most high = " + std::to_string(high) + ", got " + std::to_string(low));
  return inputs[0];
}

}  // namespace elek
