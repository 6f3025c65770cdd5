// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp
#include "elek/ops/add.h"

#include "core/error.h"

namespace elek {

ImageShape AddAttrs::infer(const NodeInputs& inputs) {
  ELEK_CHECK(inputs[0] == inputs[1],
             inputs.who() + "expected two inputs of one shape, got " + to_string(inputs[0]) + " and " + to_string(inputs[1]));
  return inputs[0];
}

}  // namespace elek
