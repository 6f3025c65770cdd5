// SPDX-License-Identifier: Apache-2.0
// Around the blocks: which of them make a stage, and what stands before and behind them. A stage begins where names show it
// (layer1, layer2), else where channels change or a projection stands. Tests: tests/models/import_names_test.cpp
#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "core/error.h"
#include "core/hint.h"
#include "models/structure.h"
#include "models/text.h"

namespace elek::detail {
namespace {

std::string names_of(const std::vector<FileLayer>& layers) {
  constexpr size_t kMost = 5;
  std::string names;
  for (size_t i = 0; i < std::min(layers.size(), kMost); ++i) names += (i > 0 ? ", " : "") + layers[i].text();
  return names.empty() ? "nothing" : names;
}

bool changes_channels(const Block& block) { return block.inputs() != block.outputs(); }

/// For each block but the first: whether the names begin a stage there. Empty if the names show no stages. layer1.1 and
/// layer2.0 differ in an earlier word than layer1.0 and layer1.1.
std::vector<bool> stages_by_name(const std::vector<Block>& blocks) {
  std::vector<size_t> differs;
  for (size_t i = 1; i < blocks.size(); ++i) differs.push_back(common_words(blocks[i - 1].words, blocks[i].words));
  if (differs.empty()) return {};
  const auto [least, most] = std::minmax_element(differs.begin(), differs.end());
  if (*least == *most) return {};
  std::vector<bool> begins;
  begins.reserve(differs.size());
  for (const size_t at : differs) begins.push_back(at == *least);
  return begins;
}

void check_chain(const std::vector<Block>& blocks, const std::vector<FileLayer>& outside, const std::string& where) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    if (i > 0 && blocks[i - 1].outputs() != block.inputs()) {
      throw InputError(where + ": block " + in_quotes(block.path) + " reads " + std::to_string(block.inputs()) +
                       " channels, but block " + in_quotes(blocks[i - 1].path) + " before it makes " +
                       std::to_string(blocks[i - 1].outputs()) +
                       "; is something between them? Outside of all blocks: " + names_of(outside));
    }
    if (!block.projection && block.outputs() < block.inputs()) {
      throw InputError(where + ": block " + in_quotes(block.path) + " has no projection in its shortcut, but makes " +
                       std::to_string(block.outputs()) + " channels of " + std::to_string(block.inputs()) +
                       "; shortcuts without weights can only add channels");
    }
  }
}

bool is_before(const FileLayer& a, const FileLayer& b, bool keeps_order) {
  if (keeps_order && !shows_order(a.words, b.words)) return a.position < b.position;
  return compare(a.words, b.words) < 0;
}

bool is_chain(const std::vector<const FileLayer*>& convs, int64_t channels) {
  for (size_t i = 1; i < convs.size(); ++i) {
    if (convs[i]->inputs() != convs[i - 1]->outputs()) return false;
  }
  return convs.back()->outputs() == channels;
}

bool names_head(const Words& words) {
  constexpr std::array<std::string_view, 8> kHeads = {"fc",     "linear", "classifier",  "head",
                                                      "logits", "output", "predictions", "classif"};
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    return std::find(kHeads.begin(), kHeads.end(), std::string_view(word)) != kHeads.end();
  });
}

}  // namespace

std::vector<std::vector<Block>> stages_of(std::vector<Block> blocks, const std::vector<FileLayer>& outside,
                                          const std::string& where) {
  check_chain(blocks, outside, where);
  const std::vector<bool> named = stages_by_name(blocks);
  std::vector<std::vector<Block>> stages;
  for (size_t i = 0; i < blocks.size(); ++i) {
    Block& block = blocks[i];
    const bool changes = changes_channels(block) || block.projection.has_value();
    const bool begins = i == 0 || (named.empty() ? changes : named[i - 1]);
    if (!begins && changes_channels(block) && !block.projection) {
      throw InputError(where + ": block " + in_quotes(block.path) + " makes " + std::to_string(block.outputs()) +
                       " channels of " + std::to_string(block.inputs()) +
                       " inside its stage and has no projection; its shortcut cannot be known");
    }
    if (begins) stages.emplace_back();
    stages.back().push_back(std::move(block));
  }
  return stages;
}

std::vector<ConvLayer> stem_of(const std::vector<FileLayer>& convs, int64_t channels, bool keeps_order,
                               const std::string& where) {
  constexpr size_t kDeepStem = 3;
  std::vector<const FileLayer*> order;
  order.reserve(convs.size());
  for (const FileLayer& conv : convs) order.push_back(&conv);
  std::sort(order.begin(), order.end(), [&](const FileLayer* a, const FileLayer* b) { return is_before(*a, *b, keeps_order); });
  if (order.size() != 1 && order.size() != kDeepStem) {
    throw InputError(where + ": expected one convolution before the blocks, or three (a deep stem), found " +
                     std::to_string(order.size()) + " outside of all blocks: " + names_of(convs));
  }
  std::vector<size_t> at(order.size());
  std::iota(at.begin(), at.end(), size_t{0});
  do {
    std::vector<const FileLayer*> chain;
    chain.reserve(at.size());
    for (const size_t i : at) chain.push_back(order[i]);
    if (!is_chain(chain, channels)) continue;
    std::vector<ConvLayer> stem;
    for (const FileLayer* conv : chain) {
      const bool fits =
          conv->shape[2] == conv->shape[3] && conv->kernel() % 2 == 1 && (chain.size() == 1 || conv->kernel() == 3);
      if (!fits)
        throw InputError(where + ": " + conv->text() +
                         " in the stem: expected a square window of odd size; of a deep stem, 3x3");
      stem.push_back({*conv, {}, 1});
    }
    return stem;
  } while (std::next_permutation(at.begin(), at.end()));
  throw InputError(where + ": the first block reads " + std::to_string(channels) +
                   " channels, which the convolutions before it do not make: " + names_of(convs));
}

std::optional<FileLayer> head_of(std::vector<FileLayer>& rest, int64_t features, const std::string& head,
                                 const std::string& where) {
  std::vector<const FileLayer*> linear;
  for (const FileLayer& layer : rest) {
    if (layer.is(FileLayer::Kind::kLinear)) linear.push_back(&layer);
  }
  const auto take = [&](const FileLayer* layer) {
    FileLayer taken = *layer;
    std::erase_if(rest, [&](const FileLayer& each) { return each.path == taken.path; });
    return taken;
  };
  if (head == "none" || (linear.empty() && head.empty())) return std::nullopt;
  std::string names;
  for (const FileLayer* layer : linear) names += (names.empty() ? "" : ", ") + layer->text();
  std::vector<const FileLayer*> fitting;
  for (const FileLayer* layer : linear) {
    if (layer->inputs() == features && (head.empty() || layer->path == head)) fitting.push_back(layer);
  }
  if (fitting.empty()) {
    throw Hinted<InputError>(Hint::kChooseHead, where + ": expected a classifier that reads the " + std::to_string(features) +
                                                    " features of the last block, " +
                                                    (head.empty() ? "" : "named " + in_quotes(head) + ", ") + "found " +
                                                    (names.empty() ? "none" : names));
  }
  for (const FileLayer* first : fitting) {
    for (const FileLayer* second : linear) {
      if (second == first || second->inputs() != first->outputs() || !head.empty()) continue;
      throw Hinted<InputError>(Hint::kChooseHead, where + ": the classifier is a head of two layers or more, " + first->text() +
                                                      " and " + second->text() + "; elek computes one linear layer");
    }
  }
  if (fitting.size() == 1) return take(fitting.front());
  std::vector<const FileLayer*> named;
  for (const FileLayer* layer : fitting) {
    if (names_head(layer->words)) named.push_back(layer);
  }
  if (named.size() == 1) return take(named.front());
  throw Hinted<InputError>(Hint::kChooseHead, where + ": several layers could be the classifier: " + names);
}

}  // namespace elek::detail
