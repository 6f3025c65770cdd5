// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#include "elek/ops/linear.h"

#include "core/error.h"

namespace elek {

ImageShape LinearAttrs::infer(const NodeInputs& inputs) const {
  ELEK_CHECK(inputs[0].positions() == 1,
             inputs.who() + "expected a feature vector (Fx1x1), got " + to_string(inputs[0]) + "; put a flatten before it");
  return {out_features, 1, 1};
}

std::vector<OpParameter> LinearAttrs::parameters(std::span<const ImageShape> inputs, const ImageShape& output) const {
  std::vector<OpParameter> made{{".weight", Shape{output.channels, inputs[0].channels}, ParameterRole::kWeight}};
  if (bias) made.push_back({".bias", Shape{output.channels}, ParameterRole::kVector});
  return made;
}

}  // namespace elek
