// SPDX-License-Identifier: Apache-2.0
// Models: load and save elek's model files, build ResNets, make random parameters, write ONNX; load and save statistics. A
// model file is one .safetensors file with torchvision's parameter names. Its metadata holds graph, preprocessing, labels and
// history. So a pruned network describes itself, and Python's tools can read it. `elek prepare` makes a model from a file that
// has weights only.
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

/// Reads a model that save_model wrote. For any other file InputError (file, tensor, expected, found, what to do); if the file
/// has weights only, the message names `elek prepare`.
[[nodiscard]] ELEK_API Model load_model(const std::string& path, MemoryResource& resource);
/// Writes the whole file, or leaves no file behind.
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
  int64_t groups = 1;            // of the bottleneck's 3x3 convolution
  int64_t width_per_group = 64;  // inner width = planes * width_per_group / 64 * groups
  Stem stem = Stem::kImageNet;
  Shortcut shortcut = Shortcut::kB;
  int64_t classes = 1000;
  ImageShape input{3, 224, 224};
};

/// The spec of an --arch name: resnet18/34/50/101/152, wide_resnet50_2, wide_resnet101_2, resnext50_32x4d, resnext101_32x8d,
/// resnext101_64x4d, resnet10, resnet26, cifar_resnet8/14/20/… (6n + 2; also spelled resnet20 …). UsageError listing the names
/// for any other name.
[[nodiscard]] ELEK_API ResNetSpec resnet_spec(const std::string& arch);
/// Builds the network. CIFAR specs have by default: input 3x32x32, 10 classes, CIFAR stem, widths 16/32/64, shortcut A.
[[nodiscard]] ELEK_API Graph build_resnet(const ResNetSpec& spec);

/// Random parameters from a seed, the same on every machine. Convolutions are He-normal. Weight, bias, mean and variance of
/// batch norm are drawn around (1, 0, 0, 1), so that folding and order matter. The last batch norm of a block has small
/// weights.
[[nodiscard]] ELEK_API Parameters random_parameters(const Graph& graph, uint64_t seed, MemoryResource& resource);

/// ImageNet's mean and std for three channels; {0.5},{0.5} for any other count.
[[nodiscard]] ELEK_API Preprocessing default_preprocessing(int64_t channels);

/// The operator sets that save_onnx() can write. The usual one is of 2020, so older runtimes read it too.
inline constexpr int64_t kOldestOnnxSet = 11, kUsualOnnxSet = 13, kNewestOnnxSet = 28;

/// Writes the network as ONNX: f32, batch norm kept apart. Writes the whole file or nothing. The input is the graph's, [batch,
/// C, H, W]: pixels that are already normalised. Batch 0 leaves that dimension open. Mean, std, labels and the model's hash are
/// stored as metadata, the history is not. InputError if the file would exceed the 2 GB of protobuf, if two values would have
/// one name, or as write_safetensors().
ELEK_API void save_onnx(const Model& model, const std::string& path, int64_t batch, int64_t operator_set = kUsualOnnxSet);

}  // namespace elek
