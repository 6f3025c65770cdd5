// SPDX-License-Identifier: Apache-2.0
// Builders of ResNet graphs with torchvision's parameter names: ResNet-18…152, wide and ResNeXt variants (He et al. 2015, arXiv
// 1512.03385; Zagoruyko & Komodakis 2016; Xie et al. 2017), and the CIFAR ResNets 20…110 with three stages.
// Names: the stem has conv1, bn1, relu, maxpool. A block has layerS.B.conv1, .bn1, .relu1, …, .downsample.0/.1 (option B) or
// .shortcut (option A, a channel_map), .add; its output is layerS.B. The end has avgpool, flatten, fc.
// Tests: tests/models/resnet_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/model.h"
#include "models/safetensors.h"

namespace elek {

enum class Stem : uint8_t {
  kImageNet,  // 7x7 stride 2, max pool
  kCifar,     // 3x3 stride 1
};
enum class Shortcut : uint8_t { kA, kB };  // strided slice with zero-padded channels; 1x1 convolution

struct ResNetSpec {
  std::string name;  // "resnet50"
  bool bottleneck = false;
  std::vector<int64_t> blocks;   // per stage: {3, 4, 6, 3}
  std::vector<int64_t> widths;   // planes per stage: {64, 128, 256, 512}
  int64_t expansion = 1;         // 4 for bottlenecks
  int64_t groups = 1;            // of the 3x3 in a bottleneck
  int64_t width_per_group = 64;  // inner width = planes * width_per_group / 64 * groups
  Stem stem = Stem::kImageNet;
  Shortcut shortcut = Shortcut::kB;
  int64_t classes = 1000;
  ImageShape input{3, 224, 224};
};

/// The spec of an --arch name: resnet18/34/50/101/152, wide_resnet50_2, wide_resnet101_2, resnext50_32x4d, resnext101_32x8d,
/// resnext101_64x4d, cifar_resnet20/32/44/56/110 (also spelled resnet20 …). UsageError listing the names for any other name.
[[nodiscard]] ResNetSpec resnet_spec(const std::string& arch);
/// CIFAR networks have by default: input 3x32x32, 10 classes, CIFAR stem, widths 16/32/64, shortcut A.
[[nodiscard]] Graph build_resnet(const ResNetSpec& spec);

/// Completes a spec from the shapes in a weights file: widths, shortcut kind, classes, input channels. InputError naming
/// tensor, expected and found if file and family disagree.
[[nodiscard]] ResNetSpec infer_from_weights(ResNetSpec spec, const SafetensorsFile& weights);

/// Seeded parameters, the same on every machine: He-normal convolutions; batch norm with weight, bias, mean and variance drawn
/// around (1, 0, 0, 1), so that folding and order matter; the last batch norm of a block has small weights.
[[nodiscard]] Parameters random_parameters(const Graph& graph, uint64_t seed, MemoryResource& resource);

/// ImageNet's mean and std for three channels; {0.5},{0.5} for any other count.
[[nodiscard]] Preprocessing default_preprocessing(int64_t channels);

}  // namespace elek
