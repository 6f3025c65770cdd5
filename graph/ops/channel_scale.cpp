// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/op_test.cpp
#include "elek/ops/channel_scale.h"

#include "core/error.h"

namespace elek {

ImageShape ChannelScaleAttrs::infer(const NodeInputs& inputs) {
  const ImageShape wanted{inputs[0].channels, 1, 1};
  ELEK_CHECK(inputs[1] == wanted,
             inputs.who() + "expected " + to_string(wanted) + ", one factor per channel, got " + to_string(inputs[1]));
  return inputs[0];
}

}  // namespace elek
