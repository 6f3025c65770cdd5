// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/op_test.cpp
#include "elek/ops/concat.h"

#include "core/error.h"

namespace elek {

ImageShape ConcatAttrs::infer(const NodeInputs& inputs) {
  ImageShape made = inputs[0];
  made.channels = 0;
  for (const ImageShape& each : inputs.shapes()) {
    ELEK_CHECK(
        each.height == made.height && each.width == made.width,
        inputs.who() + "expected inputs of one height and width, got " + to_string(inputs[0]) + " and " + to_string(each));
    made.channels += each.channels;
    inputs.check_range("number of channels", made.channels, kChannelRange);
  }
  return made;
}

}  // namespace elek
