// SPDX-License-Identifier: Apache-2.0
// A residual network as the shapes and names of its layers show it: stem, stages of blocks, classifier. Names are used only
// where shapes leave a choice, so any naming scheme will do whose names keep the layers of a block together. What can be seen
// in neither (strides, option A's zeros, pooling) is not here: models/readings.h. Never guesses: what does not fit is an error
// that says which layer does not. Internal to models/. Tests: tests/models/import_names_test.cpp, tests/models/import_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/file_layers.h"

namespace elek::detail {

/// A convolution and the batch norm behind it. Without one (folded networks) the convolution has a bias.
struct ConvLayer {
  FileLayer conv;
  std::optional<FileLayer> norm;
  int64_t groups = 1;
};

/// Squeeze-and-excitation behind the last batch norm of a branch: two small layers that make one factor per channel.
struct SqueezeLayers {
  FileLayer squeeze, excite;
};

struct Block {
  Words words;                          // that all its layers share: layer1, 0
  std::string path;                     // "layer1.0"
  std::vector<ConvLayer> branch;        // 2: a basic block; 3: a bottleneck
  std::optional<ConvLayer> projection;  // the shortcut's convolution
  bool pooled_projection = false;       // index 0 of the shortcut's list has no weights: an average pool (ResNet-D)
  std::optional<SqueezeLayers> squeeze;

  [[nodiscard]] bool is_bottleneck() const noexcept { return branch.size() == 3; }
  [[nodiscard]] int64_t inputs() const { return branch.front().conv.inputs(); }
  [[nodiscard]] int64_t outputs() const { return branch.back().conv.outputs(); }
};

struct Structure {
  std::vector<ConvLayer> stem;             // one convolution, or three (deep stem)
  std::vector<std::vector<Block>> stages;  // at least one block each
  std::optional<FileLayer> head;           // none: the network ends with its features
  std::vector<std::string> guessed;        // sentences: where names and shapes both leave a choice, what was taken
  std::vector<std::string> outside;        // layers that are no part of the network, and were left out

  [[nodiscard]] int64_t input_channels() const { return stem.front().conv.inputs(); }
  [[nodiscard]] int64_t features() const { return stages.back().back().outputs(); }
  [[nodiscard]] int64_t outputs() const { return head ? head->outputs() : features(); }
  [[nodiscard]] bool is_bottleneck() const { return stages.front().front().is_bottleneck(); }
  /// The convolutions of the main branches, and two: resnet18, resnet50 …
  [[nodiscard]] int64_t depth() const;
  /// Whether a block adds channels or leaves out pixels without a projection: option A.
  [[nodiscard]] bool has_option_a() const;
};

/// Finds the network among the layers of a file. `head` names the classifier where several layers could be it, or is "none".
/// Errors    InputError: no network, several (a model and its moving average), or one that elek does not compute; names the
/// layers and
///           what they look like. UsageError: no layer has the name `head`
[[nodiscard]] Structure find_structure(const FileLayers& layers, const std::string& head, const std::string& where);

// ---- the steps, one file each ----

/// The layers of one block, or nothing if they are not a block. `guessed` gets a sentence if the order of two layers is
/// unclear.
[[nodiscard]] std::optional<Block> match_block(std::span<const FileLayer> layers, bool keeps_order,
                                               std::vector<std::string>& guessed);

/// Gives each convolution its batch norm; norms that are used are removed from `norms`. `guessed` gets sentences if neither
/// names nor sizes show which belongs to which. InputError if they do not fit.
void pair_norms(std::vector<ConvLayer*> convs, std::vector<FileLayer>& norms, bool keeps_order, const std::string& where,
                std::vector<std::string>& guessed);

/// Blocks in order, with the stages that names or shapes show. InputError if one block does not continue the one before it; it
/// names the convolutions that are in no block (`outside`).
[[nodiscard]] std::vector<std::vector<Block>> stages_of(std::vector<Block> blocks, const std::vector<FileLayer>& outside,
                                                        const std::string& where);

/// The convolutions before the blocks, in order, ending with `channels` channels. InputError if they make no stem.
[[nodiscard]] std::vector<ConvLayer> stem_of(const std::vector<FileLayer>& convs, int64_t channels, bool keeps_order,
                                             const std::string& where);

/// The classifier among the layers outside the blocks: reads `features` numbers. What is taken is removed from `rest`.
[[nodiscard]] std::optional<FileLayer> head_of(std::vector<FileLayer>& rest, int64_t features, const std::string& head,
                                               const std::string& where);

}  // namespace elek::detail
