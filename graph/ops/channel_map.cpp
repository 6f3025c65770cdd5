// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#include "elek/ops/channel_map.h"

#include <algorithm>

#include "core/error.h"

namespace elek {

ImageShape ChannelMapAttrs::infer(const NodeInputs& inputs) const {
  inputs.check_range("number of channels", std::ssize(source), kChannelRange);
  for (const int32_t each : source) {
    ELEK_CHECK(each >= -1 && each < inputs[0].channels, inputs.who() + "source channels expected in [-1, " +
                                                            std::to_string(inputs[0].channels) + "), got " +
                                                            std::to_string(each));
  }
  return {std::ssize(source), (inputs[0].height - 1) / stride + 1, (inputs[0].width - 1) / stride + 1};
}

ChannelMapAttrs ChannelMapAttrs::cut(std::span<const ImageShape> /*inputs*/, const KeptChannels& kept) const {
  ChannelMapAttrs made{{}, stride};
  for (const int64_t d : kept.output) {
    const int32_t from = source.at(static_cast<size_t>(d));
    const auto found = std::lower_bound(kept.input.begin(), kept.input.end(), int64_t{from});
    const bool stays = from >= 0 && found != kept.input.end() && *found == from;
    made.source.push_back(stays ? static_cast<int32_t>(found - kept.input.begin()) : -1);
  }
  return made;
}

}  // namespace elek
