// SPDX-License-Identifier: Apache-2.0
#include "models/network_builder.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "models/text.h"

namespace elek::detail {
namespace {

class NetworkBuilder {
 public:
  NetworkBuilder(const Structure& structure, const Reading& reading, const std::string& where)
      : structure_(structure), reading_(reading), where_(where) {}

  Network build() {
    at_ = made_.graph.add("input", InputAttrs{reading_.input}, {});
    stem();
    for (size_t stage = 0; stage < structure_.stages.size(); ++stage) {
      const std::vector<Block>& blocks = structure_.stages[stage];
      for (size_t i = 0; i < blocks.size(); ++i) {
        residual_block("layer" + std::to_string(stage + 1) + "." + std::to_string(i), blocks[i],
                       i == 0 ? reading_.strides[stage] : 1);
      }
    }
    add("avgpool", GlobalAvgPoolAttrs{});
    add("flatten", FlattenAttrs{});
    if (structure_.head) head(*structure_.head);
    made_.graph.set_output(at_);
    return std::move(made_);
  }

 private:
  void add(const std::string& name, Attrs attrs) { at_ = made_.graph.add(name, std::move(attrs), {at_}); }

  void head(const FileLayer& layer) {
    add("fc", LinearAttrs{layer.outputs(), true});
    made_.values["fc.weight"] = {layer.weight, {}, 0};
    made_.values["fc.bias"] = {layer.bias, {}, 0};
  }

  /// Convolution and batch norm. The bias of a convolution in front of a batch norm only moves its mean. Without a batch norm
  /// the convolution keeps its bias.
  void conv(const ConvLayer& layer, const std::string& name, const std::string& norm_name, int64_t stride) {
    const int64_t kernel = layer.conv.kernel();
    add(name, Conv2dAttrs{layer.conv.outputs(), kernel, stride, kernel / 2, layer.groups, !layer.norm});
    made_.values[name + ".weight"] = {layer.conv.weight, {}, 0};
    if (!layer.norm) {
      made_.values[name + ".bias"] = {layer.conv.bias, {}, 0};
      return;
    }
    add(norm_name, BatchNormAttrs{reading_.epsilon});
    made_.values[norm_name + ".weight"] = {layer.norm->weight, {}, 1};  // a batch norm without weights scales by 1
    made_.values[norm_name + ".bias"] = {layer.norm->bias, {}, 0};
    made_.values[norm_name + ".running_mean"] = {layer.norm->mean, layer.conv.bias, 0};
    made_.values[norm_name + ".running_var"] = {layer.norm->variance, {}, 0};
  }

  void stem() {
    const std::vector<ConvLayer>& stem = structure_.stem;
    for (size_t i = 0; i < stem.size(); ++i) {
      const bool last = i + 1 == stem.size();
      const size_t place = 3 * i;  // in timm's list: convolution, batch norm, ReLU
      const std::string name = stem.size() == 1 ? "conv1" : "conv1." + std::to_string(place);
      conv(stem[i], name, last ? "bn1" : "conv1." + std::to_string(place + 1), i == 0 ? reading_.stem_stride : 1);
      add(last ? "relu" : "conv1." + std::to_string(place + 2), ReluAttrs{});
    }
    if (reading_.max_pool) add("maxpool", MaxPoolAttrs{{3, 2, 1}});
  }

  void residual_block(const std::string& name, const Block& block, int64_t stride) {
    const ValueId input = at_;
    const size_t strided = block.is_bottleneck() && !reading_.stride_on_first ? 1 : 0;
    for (size_t i = 0; i < block.branch.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      conv(block.branch[i], name + ".conv" + number, name + ".bn" + number, i == strided ? stride : 1);
      if (i + 1 < block.branch.size()) add(name + ".relu" + number, ReluAttrs{});
    }
    if (block.squeeze) squeeze(name + ".se", *block.squeeze);
    const ValueId main = at_;
    at_ = input;
    shortcut(name, block, stride);
    at_ = made_.graph.add(name + ".add", AddAttrs{}, {main, at_});
    add(name, ReluAttrs{});
  }

  void squeeze(const std::string& name, const SqueezeLayers& layers) {
    const ValueId value = at_;
    add(name + ".pool", GlobalAvgPoolAttrs{});
    for (const auto& [part, layer] : {std::pair(".fc1", &layers.squeeze), std::pair(".fc2", &layers.excite)}) {
      add(name + part, Conv2dAttrs{layer->outputs(), 1, 1, 0, 1, true});
      made_.values[name + part + ".weight"] = {layer->weight, {}, 0};
      made_.values[name + part + ".bias"] = {layer->bias, {}, 0};
      if (layer == &layers.squeeze) add(name + ".act", ReluAttrs{});
    }
    add(name + ".gate", SigmoidAttrs{});
    at_ = made_.graph.add(name, ChannelScaleAttrs{}, {value, at_});
  }

  /// Sets at_ to the value that is added to the main branch.
  void shortcut(const std::string& name, const Block& block, int64_t stride) {
    if (block.projection) {
      const bool pool = block.pooled_projection && stride > 1;
      if (pool) average_pool(name, stride);
      const std::string list = name + ".downsample.";
      const int index = block.pooled_projection ? 1 : 0;
      conv(*block.projection, list + std::to_string(index), list + std::to_string(index + 1), pool ? 1 : stride);
      return;
    }
    const int64_t in = block.inputs();
    const int64_t out = block.outputs();
    if (stride == 1 && in == out) return;
    ChannelMapAttrs attrs{std::vector<int32_t>(static_cast<size_t>(out), -1), stride};
    const int64_t before = reading_.zeros_behind ? 0 : (out - in) / 2;
    for (int64_t c = 0; c < in; ++c) attrs.source[static_cast<size_t>(before + c)] = static_cast<int32_t>(c);
    add(name + ".shortcut", std::move(attrs));
  }

  /// ResNet-D's pool counts no padding. With sizes that the stride divides there is none.
  void average_pool(const std::string& name, int64_t stride) {
    const ImageShape& shape = made_.graph.node(at_).shape;
    if (shape.height % stride != 0 || shape.width % stride != 0) {
      throw InputError(where_ + ": the average pool in the shortcut of " + in_quotes(name) + " would meet an image of " +
                       std::to_string(shape.height) + "x" + std::to_string(shape.width) +
                       "; choose an input size for which it is even");
    }
    add(name + ".downsample.0", AvgPoolAttrs{{stride, stride, 0}});
  }

  const Structure& structure_;
  const Reading& reading_;
  const std::string& where_;
  Network made_;
  ValueId at_ = -1;
};

bool any_block(const Structure& structure, const auto& holds) {
  return std::any_of(structure.stages.begin(), structure.stages.end(),
                     [&](const std::vector<Block>& stage) { return std::any_of(stage.begin(), stage.end(), holds); });
}

}  // namespace

Network build_network(const Structure& structure, const Reading& reading, const std::string& where) {
  ELEK_CHECK(reading.strides.size() == structure.stages.size(), "expected a stride for each of the " +
                                                                    std::to_string(structure.stages.size()) + " stages, got " +
                                                                    std::to_string(reading.strides.size()));
  try {
    return NetworkBuilder(structure, reading, where).build();
  } catch (const ContractError& error) {  // the graph's own checks; here the shapes come from a file
    throw InputError(where + ": its shapes make no network: " + error.what());
  }
}

std::string architecture_name(const Structure& structure) {
  const bool squeezed = any_block(structure, [](const Block& block) { return block.squeeze.has_value(); });
  const bool pooled = any_block(structure, [](const Block& block) { return block.pooled_projection; });
  const Block& first = structure.stages.front().front();
  const int64_t groups = first.is_bottleneck() ? first.branch[1].groups : 1;
  std::string name = structure.stages.size() == 3 ? "cifar_" : "";
  if (squeezed) name += "se";
  if (groups > 1) {
    name += "resnext" + std::to_string(structure.depth()) + "_" + std::to_string(groups) + "x" +
            std::to_string(first.branch[1].conv.outputs() / groups) + "d";
    return name;
  }
  name += "resnet" + std::to_string(structure.depth());
  if (pooled && structure.stem.size() > 1) return name + "d";
  if (pooled) return name + "_avgdown";
  return structure.stem.size() > 1 ? name + "c" : name;
}

}  // namespace elek::detail
