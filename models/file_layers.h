// SPDX-License-Identifier: Apache-2.0
// From tensors to layers: the tensors of a weights file that belong together (weight, bias, mean, variance) become one layer
// each, with its kind taken from the weight's rank. Also here: gamma and beta, weight_orig and weight_mask, and what training
// tools leave behind. Must not know networks; models/structure.h finds the network. Internal to models/. Tests:
// tests/models/file_layers_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/layer_words.h"

namespace elek::detail {

/// A tensor of a file without its values.
struct FileTensor {
  std::string name;
  std::string dtype;  // "F32", "BF16", "I64", …
  std::vector<int64_t> shape;
  std::string in_file;  // its name in the file, before any renaming
};

/// Where the values of a weight or bias are, as names in the file; empty if there are none.
struct Source {
  std::string tensor;
  std::string mask;  // multiplied with it (torch.nn.utils.prune keeps both); empty if none
  [[nodiscard]] bool given() const noexcept { return !tensor.empty(); }
};

struct FileLayer {
  enum class Kind : uint8_t {
    kConvolution,  // weight of 4 dimensions
    kLinear,       // weight of 2 dimensions
    kBatchNorm,    // running mean and variance
    kScale,        // weight of 1 dimension without statistics: group norm, layer norm, PReLU …
    kOther,        // a weight of another rank, or a name that no layer of ours has
  };
  std::string path;  // "layer1.0.conv1"
  Words words;       // of the path
  Kind kind = Kind::kOther;
  std::vector<int64_t> shape;  // of the weight; of a batch norm's running mean
  Source weight, bias, mean, variance;
  size_t position = 0;  // of its first tensor in the file

  [[nodiscard]] bool is(Kind of) const noexcept { return kind == of; }
  [[nodiscard]] int64_t outputs() const { return shape.empty() ? 0 : shape[0]; }
  /// Of a convolution: the input channels of one group.
  [[nodiscard]] int64_t inputs() const { return shape.size() < 2 ? 0 : shape[1]; }
  [[nodiscard]] int64_t kernel() const { return shape.size() == 4 ? shape[2] : 1; }
  /// "layer1.0.conv1 [64, 64, 3, 3]", for messages.
  [[nodiscard]] std::string text() const;
};

struct FileLayers {
  std::vector<FileLayer> layers;      // by name, numbers as numbers
  std::vector<std::string> counters;  // num_batches_tracked: every file has them
  std::vector<std::string> extras;    // left behind by tools: total_ops, counters, masks of weights that are whole
  bool keeps_order = false;           // the file's order is not just that of the names
};

/// Groups the tensors. InputError naming the tensor: a weight in a form that must be computed first (weight norm, spectral
/// norm), two tensors for one place, or a size of 0.
[[nodiscard]] FileLayers layers_of(const std::vector<FileTensor>& tensors, const std::string& where);

/// Applies OLD=NEW: the tensor OLD, or everything under the module OLD. InputError if nothing has that name; it tells the
/// nearest.
struct Rename {
  std::string from, to;
};
void rename_tensors(std::vector<FileTensor>& tensors, const std::vector<Rename>& renames, const std::string& where);

}  // namespace elek::detail
