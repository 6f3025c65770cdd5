// SPDX-License-Identifier: Apache-2.0
// Finds the blocks from the top of the tree of names: the first branch of the tree whose layers make one block is a block. What
// is left over is stem, classifier and what does not belong to the network.
#include "models/structure.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "core/error.h"
#include "core/hint.h"
#include "models/text.h"

namespace elek::detail {
namespace {

using Kind = FileLayer::Kind;

std::string listed(const std::vector<FileLayer>& layers) {
  constexpr size_t kMost = 4;
  std::string text;
  for (size_t i = 0; i < std::min(layers.size(), kMost); ++i) text += (i > 0 ? ", " : "") + layers[i].text();
  return layers.size() > kMost ? text + " and " + std::to_string(layers.size() - kMost) + " more" : text;
}

std::string what_it_is(const FileLayer& layer) {
  if (layer.is(Kind::kScale) && layer.bias.given()) {
    return "has weight and bias but no running_mean and running_var: group norm, layer norm, or batch norm without statistics, "
           "which are "
           "not supported";
  }
  if (layer.is(Kind::kScale)) return "has one weight a channel and no bias (PReLU or a layer's scale?), which is not supported";
  if (layer.shape.size() == 3)
    return "is a convolution over channels (efficient channel attention, ECA?), which is not supported";
  if (names_squeeze(layer.words)) return "does not fit squeeze-and-excitation behind the last batch norm of the block";
  return "has no place in a residual block";
}

class Finder {
 public:
  Finder(std::vector<FileLayer> layers, bool keeps_order, const std::string& head, const std::string& where)
      : layers_(std::move(layers)), keeps_order_(keeps_order), head_(head), where_(where) {}

  Structure find() {
    descend(layers_, 0);
    if (blocks_.empty()) fail_without_blocks();
    std::vector<FileLayer> convs = take(Kind::kConvolution);
    made_.stages = stages_of(std::move(blocks_), convs, where_);
    take_head(convs);
    made_.stem = stem_of(convs, made_.stages.front().front().inputs(), keeps_order_, where_);
    pair_stem();
    for (const FileLayer& layer : rest_) made_.outside.push_back(layer.path);
    return std::move(made_);
  }

 private:
  void descend(std::span<const FileLayer> layers, size_t depth) {
    if (std::optional<Block> block = match_block(layers, keeps_order_, made_.guessed)) {
      complete(*block, layers);
      blocks_.push_back(*std::move(block));
      return;
    }
    for (size_t begin = 0; begin < layers.size();) {
      if (layers[begin].words.size() <= depth) {
        rest_.push_back(layers[begin++]);
        continue;
      }
      size_t end = begin + 1;
      while (end < layers.size() && layers[end].words.size() > depth && layers[end].words[depth] == layers[begin].words[depth])
        ++end;
      if (end == begin + 1) {
        rest_.push_back(layers[begin]);
      } else {
        descend(layers.subspan(begin, end - begin), depth + 1);
      }
      begin = end;
    }
  }

  /// Batch norms of the block. Everything in it must have a place.
  void complete(Block& block, std::span<const FileLayer> layers) {
    std::vector<ConvLayer*> convs;
    for (ConvLayer& conv : block.branch) convs.push_back(&conv);
    if (block.projection) convs.push_back(&*block.projection);
    std::set<std::string> placed;
    for (const ConvLayer* conv : convs) placed.insert(conv->conv.path);
    if (block.squeeze) placed.insert({block.squeeze->squeeze.path, block.squeeze->excite.path});
    std::vector<FileLayer> norms;
    for (const FileLayer& layer : layers) {
      if (placed.contains(layer.path)) continue;
      if (!layer.is(Kind::kBatchNorm)) {
        throw InputError(where_ + ": " + layer.text() + " in block " + in_quotes(block.path) + " " + what_it_is(layer));
      }
      norms.push_back(layer);
    }
    pair_norms(convs, norms, keeps_order_, where_, made_.guessed);
    if (!norms.empty()) fail_with_norm(norms.front());
  }

  std::vector<FileLayer> take(Kind kind) {
    std::vector<FileLayer> taken;
    const auto is = [&](const FileLayer& layer) { return layer.is(kind); };
    std::copy_if(rest_.begin(), rest_.end(), std::back_inserter(taken), is);
    std::erase_if(rest_, is);
    return taken;
  }

  /// A classifier may be a 1x1 convolution: then it stands among the convolutions outside the blocks.
  void take_head(std::vector<FileLayer>& convs) {
    const int64_t features = made_.features();
    made_.head = head_of(rest_, features, head_, where_);
    if (made_.head || head_ == "none" || convs.size() < 2) return;
    const auto fits = [&](const FileLayer& conv) {
      return conv.shape[2] == 1 && conv.shape[3] == 1 && conv.inputs() == features;
    };
    if (std::count_if(convs.begin(), convs.end(), fits) != 1) return;
    const auto found = std::find_if(convs.begin(), convs.end(), fits);
    made_.head = *found;
    convs.erase(found);
  }

  void pair_stem() {
    for (const FileLayer& layer : rest_) {
      const bool sized = std::any_of(made_.stem.begin(), made_.stem.end(),
                                     [&](const ConvLayer& conv) { return conv.conv.outputs() == layer.outputs(); });
      if (layer.is(Kind::kScale) && layer.bias.given() && sized)
        throw InputError(where_ + ": " + layer.text() + " " + what_it_is(layer));
    }
    std::vector<FileLayer> norms = take(Kind::kBatchNorm);
    if (head_ == "none") leave_out_head(norms);
    std::vector<ConvLayer*> convs;
    for (ConvLayer& conv : made_.stem) convs.push_back(&conv);
    pair_norms(convs, norms, keeps_order_, where_, made_.guessed);
    if (!norms.empty()) fail_with_norm(norms.front());
  }

  /// Batch norms in the same list as linear layers (g.0, g.1, g.3) belong to a classifier that nobody wants.
  void leave_out_head(std::vector<FileLayer>& norms) {
    const auto list_of = [](const FileLayer& layer) {
      Words list = layer.words;
      if (!list.empty()) list.pop_back();
      return list;
    };
    std::erase_if(norms, [&](const FileLayer& norm) {
      const bool beside = std::any_of(rest_.begin(), rest_.end(), [&](const FileLayer& layer) {
        return layer.is(Kind::kLinear) && !list_of(norm).empty() && list_of(layer) == list_of(norm);
      });
      if (beside) made_.outside.push_back(norm.path);
      return beside;
    });
  }

  [[noreturn]] void fail_with_norm(const FileLayer& norm) const {
    throw InputError(
        where_ + ": the batch norm " + norm.text() +
        " belongs to no convolution; is this a pre-activation network (ResNet v2), or a classifier of several layers? "
        "Neither is supported");
  }

  [[noreturn]] void fail_without_blocks() const {
    std::vector<FileLayer> convs;
    std::copy_if(layers_.begin(), layers_.end(), std::back_inserter(convs),
                 [](const FileLayer& l) { return l.is(Kind::kConvolution); });
    if (convs.empty()) {
      throw InputError(
          where_ + ": there are no weights of convolutions (tensors of 4 dimensions whose name ends in weight)" +
          (layers_.empty() ? std::string("; the file has no layers at all") : "; the first layers are " + listed(layers_)));
    }
    throw InputError(where_ +
                     ": there are no residual blocks. Looked for groups of names that share their beginning and hold two 3x3 "
                     "convolutions, or 1x1, 3x3 and 1x1; the file has " +
                     std::to_string(convs.size()) + " convolutions: " + listed(convs));
  }

  std::vector<FileLayer> layers_;
  bool keeps_order_;
  const std::string& head_;
  const std::string& where_;
  std::vector<Block> blocks_;
  std::vector<FileLayer> rest_;  // in no block
  Structure made_;
};

// ---- several networks in one file ----

/// The part of a name before its first `count` dots.
std::string dotted_prefix(const std::string& path, size_t count) {
  size_t end = 0;
  for (size_t i = 0; i < count; ++i) {
    end = path.find('.', i == 0 ? 0 : end + 1);
    if (end == std::string::npos) return path;
  }
  return path.substr(0, end);
}

size_t dots_in_common(const std::vector<FileLayer>& layers) {
  size_t depth = 0;
  const FileLayer* first = nullptr;
  for (const FileLayer& layer : layers) {
    if (!layer.is(Kind::kConvolution)) continue;
    if (first == nullptr) {
      first = &layer;
      depth = static_cast<size_t>(std::count(layer.path.begin(), layer.path.end(), '.'));
      continue;
    }
    while (depth > 0 && dotted_prefix(layer.path, depth) != dotted_prefix(first->path, depth)) --depth;
  }
  return depth;
}

struct Candidate {
  std::string prefix;  // empty: the names outside all other candidates
  Structure structure;
};

/// Networks under the names that follow the common beginning; each part that has convolutions is tried alone.
std::vector<Candidate> candidates(const FileLayers& all, const std::string& head, const std::string& where) {
  constexpr int64_t kFewest = 3;  // convolutions of a stem and a block
  constexpr size_t kMostParts = 64;
  const size_t depth = dots_in_common(all.layers) + 1;
  std::map<std::string, int64_t> parts;  // to convolutions
  for (const FileLayer& layer : all.layers) {
    if (layer.is(Kind::kConvolution)) ++parts[dotted_prefix(layer.path, depth)];
  }
  std::vector<Candidate> found;
  const auto try_part = [&](const std::string& prefix, const auto& belongs) {
    const auto is_inside = [&](const FileLayer& layer) { return belongs(dotted_prefix(layer.path, depth)); };
    // The classifier may stand beside the part that has the convolutions, if that has none of its own.
    const bool has_head = std::any_of(all.layers.begin(), all.layers.end(),
                                      [&](const FileLayer& layer) { return layer.is(Kind::kLinear) && is_inside(layer); });
    std::vector<FileLayer> layers;
    std::vector<std::string> outside;
    for (const FileLayer& layer : all.layers) {
      const bool head_beside = !has_head && layer.is(Kind::kLinear) && !parts.contains(dotted_prefix(layer.path, depth));
      if (is_inside(layer) || head_beside) {
        layers.push_back(layer);
      } else {
        outside.push_back(layer.path);
      }
    }
    try {
      Structure structure = Finder(std::move(layers), all.keeps_order, head, where).find();
      structure.outside.insert(structure.outside.end(), outside.begin(), outside.end());
      found.push_back({prefix, std::move(structure)});
    } catch (const InputError&) {  // not a network by itself
    }
  };
  std::set<std::string> taken;
  for (const auto& part : parts) {
    const std::string& prefix = part.first;
    if (part.second < kFewest || parts.size() > kMostParts) continue;
    const size_t before = found.size();
    try_part(prefix, [&](const std::string& at) { return at == prefix; });
    if (found.size() > before) taken.insert(prefix);
  }
  if (!taken.empty() && taken.size() < parts.size()) {
    try_part("", [&](const std::string& at) { return !taken.contains(at); });
  }
  return found;
}

}  // namespace

int64_t Structure::depth() const {
  int64_t convs = 0;
  for (const std::vector<Block>& stage : stages) {
    for (const Block& block : stage) convs += std::ssize(block.branch);
  }
  return convs + 2;
}

bool Structure::has_option_a() const {
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (size_t i = 0; i < stages[stage].size(); ++i) {
      const Block& block = stages[stage][i];
      if (!block.projection && (block.inputs() != block.outputs() || (stage > 0 && i == 0))) return true;
    }
  }
  return false;
}

Structure find_structure(const FileLayers& layers, const std::string& head, const std::string& where) {
  try {
    return Finder(layers.layers, layers.keeps_order, head, where).find();
  } catch (const InputError&) {
    std::vector<Candidate> found = candidates(layers, head, where);
    if (found.empty()) throw;
    if (found.size() == 1) return std::move(found.front().structure);
    std::string names;
    for (const Candidate& each : found) {
      names += (names.empty() ? "" : ", ") + (each.prefix.empty() ? "the names without a prefix" : in_quotes(each.prefix));
    }
    throw Hinted<InputError>(Hint::kPartOfFile,
                             where + ": there are " + std::to_string(found.size()) + " networks in this file: " + names);
  }
}

}  // namespace elek::detail
