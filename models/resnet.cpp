// SPDX-License-Identifier: Apache-2.0
// ResNet graphs. Bottlenecks have their stride on the 3x3, as in torchvision (He et al. put it on the first 1x1), because
// published weights were trained that way. In the graph's order the projection comes after the main branch.
#include <algorithm>

#include "core/error.h"
#include "elek/model.h"

namespace elek {

namespace {

constexpr const char* kNames =
    "resnet18, resnet34, resnet50, resnet101, resnet152, wide_resnet50_2, wide_resnet101_2, resnext50_32x4d, resnext101_32x8d, "
    "resnext101_64x4d, resnet10, resnet26, and for CIFAR cifar_resnet8, 14, 20, 26 … (6n + 2)";

struct Family {
  const char* name;
  bool bottleneck;
  std::vector<int64_t> blocks;
  int64_t groups;
  int64_t width_per_group;
};

/// torchvision's table (torchvision/models/resnet.py).
const std::vector<Family>& families() {
  static const std::vector<Family> table = {
      {"resnet10", false, {1, 1, 1, 1}, 1, 64},          {"resnet26", true, {2, 2, 2, 2}, 1, 64},
      {"resnet18", false, {2, 2, 2, 2}, 1, 64},          {"resnet34", false, {3, 4, 6, 3}, 1, 64},
      {"resnet50", true, {3, 4, 6, 3}, 1, 64},           {"resnet101", true, {3, 4, 23, 3}, 1, 64},
      {"resnet152", true, {3, 8, 36, 3}, 1, 64},         {"wide_resnet50_2", true, {3, 4, 6, 3}, 1, 128},
      {"wide_resnet101_2", true, {3, 4, 23, 3}, 1, 128}, {"resnext50_32x4d", true, {3, 4, 6, 3}, 32, 4},
      {"resnext101_32x8d", true, {3, 4, 23, 3}, 32, 8},  {"resnext101_64x4d", true, {3, 4, 23, 3}, 64, 4},
  };
  return table;
}

ResNetSpec cifar_spec(int64_t depth) {
  const int64_t blocks = (depth - 2) / 6;  // depth = 6n + 2 (He et al. 2015, section 4.2)
  ResNetSpec spec;
  spec.name = "cifar_resnet" + std::to_string(depth);
  spec.blocks = {blocks, blocks, blocks};
  spec.widths = {16, 32, 64};
  spec.stem = Stem::kCifar;
  spec.shortcut = Shortcut::kA;
  spec.classes = 10;
  spec.input = {3, 32, 32};
  return spec;
}

int64_t inner_width(const ResNetSpec& spec, int64_t planes) { return planes * spec.width_per_group / 64 * spec.groups; }

void check_spec(const ResNetSpec& spec) {
  ELEK_CHECK(!spec.blocks.empty() && spec.blocks.size() == spec.widths.size(),
             spec.name + ": expected as many widths as stages, got " + std::to_string(spec.widths.size()) + " and " +
                 std::to_string(spec.blocks.size()));
  ELEK_CHECK(spec.expansion >= 1 && spec.groups >= 1 && (spec.bottleneck || (spec.expansion == 1 && spec.groups == 1)),
             spec.name + ": basic blocks have neither expansion nor groups");
  const auto positive = [](int64_t n) { return n >= 1; };
  if (!std::all_of(spec.widths.begin(), spec.widths.end(), positive) ||
      !std::all_of(spec.blocks.begin(), spec.blocks.end(), positive)) {
    throw UsageError(spec.name + ": every stage needs at least one block and one channel");
  }
  if (spec.classes < 1) throw UsageError(spec.name + ": expected at least one class, got " + std::to_string(spec.classes));
  if (spec.input.channels < 1 || spec.input.height < 1 || spec.input.width < 1) {
    throw UsageError(spec.name + ": expected an input of at least 1x1x1, got " + to_string(spec.input));
  }
  for (const int64_t planes : spec.widths) {
    if (spec.bottleneck && inner_width(spec, planes) < 1) {
      throw UsageError(spec.name + ": a width of " + std::to_string(planes) +
                       " leaves a bottleneck no channels; choose a wider one");
    }
  }
}

/// Adds one block after another; `at_` is the value that the next block reads.
class Builder {
 public:
  explicit Builder(const ResNetSpec& spec) : spec_(spec) { check_spec(spec); }

  Graph build() {
    at_ = graph_.add("input", InputAttrs{spec_.input}, {});
    stem();
    for (size_t stage = 0; stage < spec_.blocks.size(); ++stage) {
      for (int64_t block = 0; block < spec_.blocks[stage]; ++block) {
        residual_block("layer" + std::to_string(stage + 1) + "." + std::to_string(block), spec_.widths[stage],
                       stage > 0 && block == 0 ? 2 : 1);
      }
    }
    add("avgpool", GlobalAvgPoolAttrs{});
    add("flatten", FlattenAttrs{});
    add("fc", LinearAttrs{spec_.classes, true});
    graph_.set_output(at_);
    return std::move(graph_);
  }

 private:
  void add(const std::string& name, Attrs attrs) { at_ = graph_.add(name, std::move(attrs), {at_}); }

  void conv_bn(const std::string& conv, const std::string& bn, const Conv2dAttrs& attrs) {
    add(conv, attrs);
    add(bn, BatchNormAttrs{});
  }

  void stem() {
    const bool large = spec_.stem == Stem::kImageNet;
    conv_bn("conv1", "bn1", {spec_.widths[0], large ? 7 : 3, large ? 2 : 1, large ? 3 : 1, 1, false});
    add("relu", ReluAttrs{});
    if (large) add("maxpool", MaxPoolAttrs{{3, 2, 1}});
  }

  void residual_block(const std::string& name, int64_t planes, int64_t stride) {
    const ValueId input = at_;
    const int64_t out = planes * spec_.expansion;
    if (spec_.bottleneck) {
      const int64_t inner = inner_width(spec_, planes);
      conv_bn(name + ".conv1", name + ".bn1", {inner, 1, 1, 0, 1, false});
      add(name + ".relu1", ReluAttrs{});
      conv_bn(name + ".conv2", name + ".bn2", {inner, 3, stride, 1, spec_.groups, false});
      add(name + ".relu2", ReluAttrs{});
      conv_bn(name + ".conv3", name + ".bn3", {out, 1, 1, 0, 1, false});
    } else {
      conv_bn(name + ".conv1", name + ".bn1", {planes, 3, stride, 1, 1, false});
      add(name + ".relu1", ReluAttrs{});
      conv_bn(name + ".conv2", name + ".bn2", {out, 3, 1, 1, 1, false});
    }
    const ValueId main = at_;
    at_ = input;
    shortcut(name, out, stride);
    at_ = graph_.add(name + ".add", AddAttrs{}, {main, at_});
    add(name, ReluAttrs{});
  }

  /// Sets at_ to the value that is added to the main branch.
  void shortcut(const std::string& name, int64_t out, int64_t stride) {
    const int64_t in = graph_.node(at_).shape.channels;
    if (stride == 1 && in == out) return;
    if (spec_.shortcut == Shortcut::kB) {
      conv_bn(name + ".downsample.0", name + ".downsample.1", {out, 1, stride, 0, 1, false});
      return;
    }
    if (out < in) {
      throw UsageError(spec_.name + ": shortcut A only adds channels, " + name + " goes from " + std::to_string(in) + " to " +
                       std::to_string(out) + "; use shortcut B");
    }
    // x[:, :, ::2, ::2] between (out - in) / 2 zero channels and the rest: padding of planes // 4 where the width doubles.
    ChannelMapAttrs attrs{std::vector<int32_t>(static_cast<size_t>(out), -1), stride};
    const int64_t before = (out - in) / 2;
    for (int64_t c = 0; c < in; ++c) attrs.source[static_cast<size_t>(before + c)] = static_cast<int32_t>(c);
    add(name + ".shortcut", std::move(attrs));
  }

  const ResNetSpec& spec_;
  Graph graph_;
  ValueId at_ = -1;
};

}  // namespace

ResNetSpec resnet_spec(const std::string& arch) {
  for (const Family& family : families()) {
    if (arch != family.name) continue;
    ResNetSpec spec;
    spec.name = family.name;
    spec.bottleneck = family.bottleneck;
    spec.blocks = family.blocks;
    spec.widths = {64, 128, 256, 512};
    spec.expansion = family.bottleneck ? 4 : 1;
    spec.groups = family.groups;
    spec.width_per_group = family.width_per_group;
    return spec;
  }
  constexpr int64_t kDeepest = 1202;  // of He et al. 2015
  for (int64_t depth = 8; depth <= kDeepest; depth += 6) {
    const std::string name = "resnet" + std::to_string(depth);
    if (arch == name || arch == "cifar_" + name) return cifar_spec(depth);
  }
  throw UsageError("there is no architecture '" + arch + "'; elek builds " + kNames);
}

Graph build_resnet(const ResNetSpec& spec) { return Builder(spec).build(); }

Preprocessing default_preprocessing(int64_t channels) {
  if (channels == 3) return {{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};
  const auto count = static_cast<size_t>(std::max<int64_t>(channels, 0));
  return {std::vector<float>(count, 0.5F), std::vector<float>(count, 0.5F)};
}

}  // namespace elek
