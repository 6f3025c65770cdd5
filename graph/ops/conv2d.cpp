// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#include "elek/ops/conv2d.h"

#include "core/error.h"

namespace elek {

ImageShape Conv2dAttrs::infer(const NodeInputs& inputs) const {
  ELEK_CHECK(inputs[0].channels % groups == 0 && out_channels % groups == 0,
             inputs.who() + "groups " + std::to_string(groups) + " must divide the input's " +
                 std::to_string(inputs[0].channels) + " and the output's " + std::to_string(out_channels) + " channels");
  return inputs.slide(out_channels, window());
}

ChannelFlow Conv2dAttrs::channel_flow(std::span<const ImageShape> inputs) const {
  if (is_depthwise(inputs[0].channels)) return {ChannelFlow::How::kTies};
  return {ChannelFlow::How::kSeparates, groups};
}

std::vector<OpParameter> Conv2dAttrs::parameters(std::span<const ImageShape> inputs, const ImageShape& output) const {
  std::vector<OpParameter> made{
      {".weight", Shape{output.channels, inputs[0].channels / groups, kernel.height, kernel.width}, ParameterRole::kWeight}};
  if (bias) made.push_back({".bias", Shape{output.channels}, ParameterRole::kVector});
  return made;
}

int64_t Conv2dAttrs::macs(std::span<const ImageShape> inputs, const ImageShape& output) const {
  return Shape{output.elements(), inputs[0].channels / groups, kernel.height, kernel.width}
      .elements();  // ContractError above 2^63
}

Conv2dAttrs Conv2dAttrs::cut(std::span<const ImageShape> inputs, const KeptChannels& kept) const {
  Conv2dAttrs made = *this;
  made.out_channels = std::ssize(kept.output);
  if (is_depthwise(inputs[0].channels)) made.groups = made.out_channels;
  return made;
}

}  // namespace elek
