// SPDX-License-Identifier: Apache-2.0
// A network from a file that has weights only. Names and shapes of the tensors show the layers (models/structure.h). What they
// do not show comes from the caller, else from the configuration beside the file (models/config_beside.h), else it is assumed.
// All assumptions are returned, so that the caller can print them. Nothing is assumed silently, because two readings of one
// file are two different networks with the same names. Tests: tests/models/import_test.cpp, tests/cli/import_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elek/model.h"
#include "models/file_layers.h"
#include "models/weights_file.h"

namespace elek {

/// What tensors do not show.
enum class Unseen : uint8_t {
  kInputSize,   // height and width
  kPixels,      // mean and standard deviation
  kStem,        // the stride of the first convolution, and whether a max pool follows
  kShortcut,    // where option A has its zeros
  kProjection,  // that an average pool stands before the projections (ResNet-D)
  kStride,      // which convolution of a bottleneck has the stride
  kStages,      // the stride of each stage; no dilation
  kEpsilon,     // of batch norm
  kGate,        // the function behind squeeze-and-excitation
  kOrder,       // of layers whose names do not show it
};
[[nodiscard]] std::string_view name_of(Unseen what);  // "input size", …: as it is stored in a model's history

/// What was taken for it.
struct Taken {
  Unseen what = Unseen::kInputSize;
  std::string value;   // "3x32x32"
  std::string source;  // "assumed", "given" by the caller, or where it was read: "config.json"
  [[nodiscard]] bool assumed() const noexcept { return source == kAssumed; }
  [[nodiscard]] bool given() const noexcept { return source == kGiven; }
  static constexpr const char* kAssumed = "assumed";
  static constexpr const char* kGiven = "given";
};

/// What the caller knows. Everything else is found in the file, read beside it, or assumed.
struct WeightsOptions {
  std::optional<ResNetSpec> family;  // what depth and convolution groups are expected; the file is refused if it has others
  std::optional<ImageShape> input;
  std::optional<ImageShape> images;  // of the images that the caller has: instead of an assumed 32x32
  std::optional<Preprocessing> preprocessing;
  std::optional<Stem> stem;          // expected
  std::optional<Shortcut> shortcut;  // expected
  std::optional<bool> max_pool;
  std::optional<int64_t> stem_stride;
  std::optional<bool> zeros_behind;     // option A
  std::optional<bool> stride_on_first;  // of a bottleneck
  std::vector<int64_t> strides;         // one per stage; empty: not known
  std::optional<double> epsilon;
  std::string head;  // the classifier's name in the file, "none" for the features, empty: find it
  std::vector<detail::Rename> renames;
};

struct Import {
  Model model;  // the last entry of its history has the source's hash and all that was taken
  std::vector<Taken> taken;
  std::vector<std::string> notes;  // sentences: what was ignored, what the reader chose
};

/// Errors    InputError: no network is found, or one that elek does not compute, or the caller expects another.
///           UsageError: an option that does not fit the network found (strides for other stages, a mean of other channels)
[[nodiscard]] Import import_weights(const WeightsFile& file, const WeightsOptions& options, MemoryResource& resource);

/// The hash of a file's bytes in hex, for a model's history; empty if there is no such file (bytes in memory).
[[nodiscard]] std::string hash_of_file(const std::string& path);

/// A model file of elek, given as weights: everything is known. The options overrule its input size and preprocessing.
[[nodiscard]] Import import_model(const SafetensorsFile& file, const WeightsOptions& options, MemoryResource& resource);

}  // namespace elek
