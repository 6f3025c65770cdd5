// SPDX-License-Identifier: Apache-2.0
// Models as files and as builders: load and save elek's model files, build ResNets, make random parameters, write ONNX; and the
// files that hold statistics. A model file is one .safetensors with torchvision's parameter names; its metadata holds graph,
// preprocessing, labels and history, so that a pruned network describes itself and Python's tools still read it. A weights
// file becomes a model with `elek prepare`.
// Tests: tests/models
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "elek/export.h"
#include "elek/graph.h"
#include "elek/statistics.h"

namespace elek {

/// Reads a model that save_model wrote. Anything else is an InputError (file, tensor, expected, found, what to do); for a plain
/// weights file the message names `elek prepare`.
[[nodiscard]] ELEK_API Model load_model(const std::string& path, MemoryResource& resource);
/// Writes the whole file, or leaves nothing behind.
ELEK_API void save_model(const Model& model, const std::string& path);

[[nodiscard]] ELEK_API Statistics load_statistics(const std::string& path);
ELEK_API void save_statistics(const Statistics& statistics, const std::string& path);

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
[[nodiscard]] ELEK_API ResNetSpec resnet_spec(const std::string& arch);
/// CIFAR networks have by default: input 3x32x32, 10 classes, CIFAR stem, widths 16/32/64, shortcut A.
[[nodiscard]] ELEK_API Graph build_resnet(const ResNetSpec& spec);

/// Seeded parameters, the same on every machine: He-normal convolutions; batch norm with weight, bias, mean and variance drawn
/// around (1, 0, 0, 1), so that folding and order matter; the last batch norm of a block has small weights.
[[nodiscard]] ELEK_API Parameters random_parameters(const Graph& graph, uint64_t seed, MemoryResource& resource);

/// ImageNet's mean and std for three channels; {0.5},{0.5} for any other count.
[[nodiscard]] ELEK_API Preprocessing default_preprocessing(int64_t channels);

/// Writes the network whole or not at all: f32, batch norm kept apart. Its input is the graph's, [batch, C, H, W]: pixels that
/// are normalised already; batch 0 leaves that dimension open. Mean, std, labels and the model's hash go along as metadata,
/// the history does not. InputError where the file would pass the 2 GB that protobuf allows, where two values would have one
/// name, and as write_safetensors().
ELEK_API void save_onnx(const Model& model, const std::string& path, int64_t batch);

}  // namespace elek
