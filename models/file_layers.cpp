// SPDX-License-Identifier: Apache-2.0
#include "models/file_layers.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "models/text.h"

namespace elek::detail {
namespace {

/// What a tensor is to its layer.
enum class Part : uint8_t {
  kWeight,
  kBias,
  kMean,
  kVariance,
  kWeightOriginal,
  kWeightMask,
  kBiasOriginal,
  kBiasMask,
  kCounter,
  kExtra,
  kWeightNorm,
  kSpectralNorm,
};

/// Last words of names. Longer ones come first where one ends with another.
constexpr std::array<std::pair<std::string_view, Part>, 26> kParts = {{
    {"num_batches_tracked", Part::kCounter},
    {"running_mean", Part::kMean},
    {"running_var", Part::kVariance},
    {"running_variance", Part::kVariance},
    {"moving_mean", Part::kMean},
    {"moving_var", Part::kVariance},
    {"moving_variance", Part::kVariance},
    {"weight_orig", Part::kWeightOriginal},
    {"weight_mask", Part::kWeightMask},
    {"bias_orig", Part::kBiasOriginal},
    {"bias_mask", Part::kBiasMask},
    {"weight_g", Part::kWeightNorm},
    {"weight_v", Part::kWeightNorm},
    {"parametrizations.weight.original0", Part::kWeightNorm},
    {"parametrizations.weight.original1", Part::kWeightNorm},
    {"weight_u", Part::kSpectralNorm},
    {"parametrizations.weight.original", Part::kSpectralNorm},
    {"total_ops", Part::kExtra},
    {"total_params", Part::kExtra},
    {"n_averaged", Part::kExtra},
    {"weight", Part::kWeight},
    {"bias", Part::kBias},
    {"gamma", Part::kWeight},
    {"beta", Part::kBias},
    {"_mean", Part::kMean},  // Paddle
    {"_variance", Part::kVariance},
}};

struct Parsed {
  std::string path;
  Part part;
};

/// The layer's path and the tensor's part, if the last word is known.
std::optional<Parsed> parse(std::string name) {
  for (const std::string_view kind : {"arg:", "aux:"}) {  // MXNet: learnt or counted
    if (name.starts_with(kind)) name.erase(0, kind.size());
  }
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  for (const auto& [leaf, part] : kParts) {
    if (!lower.ends_with(leaf)) continue;
    if (name.size() == leaf.size()) return Parsed{"", part};
    const size_t separator = name.size() - leaf.size() - 1;
    const char before = name[separator];
    // "layer1_0_conv1_weight": everything joined by underscores.
    const bool joined = before == '_' && name.find('.') == std::string::npos;
    if (before == '.' || before == '/' || joined) return Parsed{name.substr(0, separator), part};
  }
  return std::nullopt;
}

bool is_integer(const std::string& dtype) { return dtype.starts_with('I') || dtype.starts_with('U') || dtype == "BOOL"; }

/// A layer while its tensors are collected.
struct Draft {
  FileLayer layer;
  std::map<Part, const FileTensor*> parts;
};

class Grouping {
 public:
  Grouping(const std::vector<FileTensor>& tensors, const std::string& where) : tensors_(tensors), where_(where) {}

  FileLayers group() {
    FileLayers made;
    for (size_t i = 0; i < tensors_.size(); ++i) add(tensors_[i], i, made);
    for (auto& [path, draft] : drafts_) finish(draft, made);
    made.keeps_order = !std::is_sorted(tensors_.begin(), tensors_.end(),
                                       [](const FileTensor& a, const FileTensor& b) { return a.in_file < b.in_file; });
    return made;
  }

 private:
  void add(const FileTensor& tensor, size_t position, FileLayers& made) {
    const std::optional<Parsed> parsed = parse(tensor.name);
    if (parsed && parsed->part == Part::kCounter) {
      made.counters.push_back(tensor.name);
      return;
    }
    if ((parsed && parsed->part == Part::kExtra) || (!parsed && is_integer(tensor.dtype))) {
      made.extras.push_back(tensor.name);
      return;
    }
    Draft& draft = drafts_[parsed ? parsed->path : tensor.name];
    if (draft.layer.path.empty()) {
      draft.layer.path = parsed ? parsed->path : tensor.name;
      draft.layer.position = position;
    }
    if (!parsed) {
      draft.layer.shape = tensor.shape;
      return;
    }
    const auto [at, fresh] = draft.parts.try_emplace(parsed->part, &tensor);
    if (!fresh && parsed->part != Part::kWeightNorm) {
      throw InputError(where_ + ": tensors " + in_quotes(at->second->in_file) + " and " + in_quotes(tensor.in_file) +
                       " are both the same part of " + in_quotes(parsed->path) + "; remove one of them");
    }
  }

  static const FileTensor* find(const Draft& draft, Part part) {
    const auto found = draft.parts.find(part);
    return found == draft.parts.end() ? nullptr : found->second;
  }

  void refuse_computed_weights(const Draft& draft) const {
    const FileTensor* normed = find(draft, Part::kWeightNorm);
    const FileTensor* spectral = find(draft, Part::kSpectralNorm);
    if (normed == nullptr && spectral == nullptr) return;
    const bool is_spectral = spectral != nullptr;
    throw InputError(
        where_ + ": tensor " + in_quotes((is_spectral ? spectral : normed)->in_file) + ": the weight of " +
        in_quotes(draft.layer.path) + " is stored in parts (" + (is_spectral ? "spectral" : "weight") +
        " normalisation or another parametrization), which elek does not compute; remove the parametrization before saving");
  }

  /// The weight (or bias), with its mask. A mask beside a weight that is already whole is left over.
  Source source(const Draft& draft, Part plain, Part original, Part mask, FileLayers& made) const {
    const FileTensor* const whole = find(draft, plain);
    const FileTensor* const unmasked = find(draft, original);
    const FileTensor* const with = find(draft, mask);
    if (whole != nullptr && unmasked != nullptr) {
      throw InputError(where_ + ": tensors " + in_quotes(whole->in_file) + " and " + in_quotes(unmasked->in_file) +
                       " are both the weight of " + in_quotes(draft.layer.path) + "; remove one of them");
    }
    if (with != nullptr && unmasked == nullptr) made.extras.push_back(with->name);
    if (unmasked == nullptr) return whole == nullptr ? Source{} : Source{whole->in_file, ""};
    if (with == nullptr) {
      throw InputError(where_ + ": tensor " + in_quotes(unmasked->in_file) +
                       ": the mask is missing that it is multiplied with (…_mask); another parametrization than pruning's?");
    }
    if (with->shape != unmasked->shape) {
      throw InputError(where_ + ": tensor " + in_quotes(with->in_file) + ": expected the shape of the weight, " +
                       shape_text(unmasked->shape) + ", found " + shape_text(with->shape));
    }
    return {unmasked->in_file, with->in_file};
  }

  void finish(Draft& draft, FileLayers& made) const {
    FileLayer& layer = draft.layer;
    refuse_computed_weights(draft);
    layer.words = words_of(layer.path);
    layer.weight = source(draft, Part::kWeight, Part::kWeightOriginal, Part::kWeightMask, made);
    layer.bias = source(draft, Part::kBias, Part::kBiasOriginal, Part::kBiasMask, made);
    const FileTensor* const mean = find(draft, Part::kMean);
    const FileTensor* const variance = find(draft, Part::kVariance);
    if (mean != nullptr) layer.mean.tensor = mean->in_file;
    if (variance != nullptr) layer.variance.tensor = variance->in_file;
    const FileTensor* weight = find(draft, Part::kWeight);
    if (weight == nullptr) weight = find(draft, Part::kWeightOriginal);
    if (weight != nullptr) layer.shape = weight->shape;
    if (mean != nullptr && variance != nullptr) {
      layer.kind = FileLayer::Kind::kBatchNorm;
      layer.shape = mean->shape;
    } else if (weight != nullptr && layer.shape.size() == 4) {
      layer.kind = FileLayer::Kind::kConvolution;
    } else if (weight != nullptr && layer.shape.size() == 2) {
      layer.kind = FileLayer::Kind::kLinear;
    } else if (weight != nullptr && layer.shape.size() == 1) {
      layer.kind = FileLayer::Kind::kScale;
    }
    const bool only_masks =
        weight == nullptr && mean == nullptr && variance == nullptr && !layer.bias.given() && !draft.parts.empty();
    if (only_masks) return;
    if (layer.kind != FileLayer::Kind::kOther) check_sizes(draft);
    made.layers.push_back(std::move(layer));
  }

  void check_sizes(const Draft& draft) const {
    for (const auto& [part, tensor] : draft.parts) {
      if (std::any_of(tensor->shape.begin(), tensor->shape.end(), [](int64_t size) { return size < 1; })) {
        throw InputError(where_ + ": tensor " + in_quotes(tensor->in_file) + ": expected dimensions above 0, found " +
                         shape_text(tensor->shape));
      }
      const bool one_each = part == Part::kBias || part == Part::kBiasOriginal || part == Part::kMean ||
                            part == Part::kVariance ||
                            (part == Part::kWeight && draft.layer.kind == FileLayer::Kind::kBatchNorm);
      if (one_each && (tensor->shape.size() != 1 || tensor->shape[0] != draft.layer.outputs())) {
        const bool turned = draft.layer.kind == FileLayer::Kind::kLinear && tensor->shape.size() == 1 &&
                            tensor->shape[0] == draft.layer.inputs();
        throw InputError(
            where_ + ": tensor " + in_quotes(tensor->in_file) + ": expected one number for each of the " +
            std::to_string(draft.layer.outputs()) + " outputs, found " + shape_text(tensor->shape) +
            (turned ? "; the layer's weight seems to be [inputs, outputs], as in TensorFlow and Paddle: transpose it" : ""));
      }
    }
  }

  const std::vector<FileTensor>& tensors_;
  const std::string& where_;
  std::map<std::string, Draft> drafts_;
};

/// Caffe's names, res2a_branch2a beside bn2a_branch2a: the batch norm's first word becomes the convolution's.
void join_caffe_names(std::vector<FileLayer>& layers) {
  for (FileLayer& layer : layers) {
    if (layer.words.size() < 2 || !layer.is(FileLayer::Kind::kBatchNorm) || !layer.words[0].starts_with("bn")) continue;
    const std::string block = "res" + layer.words[0].substr(2);
    const bool known = std::any_of(layers.begin(), layers.end(),
                                   [&](const FileLayer& other) { return !other.words.empty() && other.words[0] == block; });
    if (known) layer.words[0] = block;
  }
}

}  // namespace

std::string FileLayer::text() const { return in_quotes(path) + " " + shape_text(shape); }

FileLayers layers_of(const std::vector<FileTensor>& tensors, const std::string& where) {
  FileLayers made = Grouping(tensors, where).group();
  join_caffe_names(made.layers);
  std::sort(made.layers.begin(), made.layers.end(), [](const FileLayer& a, const FileLayer& b) {
    const int order = compare(a.words, b.words);
    return order != 0 ? order < 0 : a.path < b.path;
  });
  return made;
}

void rename_tensors(std::vector<FileTensor>& tensors, const std::vector<Rename>& renames, const std::string& where) {
  for (const Rename& rename : renames) {
    bool found = false;
    for (FileTensor& tensor : tensors) {
      const bool below = tensor.name.starts_with(rename.from) &&
                         (tensor.name.size() == rename.from.size() || tensor.name[rename.from.size()] == '.');
      if (!below) continue;
      tensor.name = rename.to + tensor.name.substr(rename.from.size());
      found = true;
    }
    if (found) continue;
    std::vector<std::string> names;
    names.reserve(tensors.size());
    for (const FileTensor& tensor : tensors) names.push_back(tensor.name);
    std::string near;
    for (const std::string& name : nearest_names(rename.from, names, 3)) near += (near.empty() ? "" : ", ") + in_quotes(name);
    throw InputError(where + ": there is no tensor or layer " + in_quotes(rename.from) + " to rename; the nearest names are " +
                     near);
  }
}

}  // namespace elek::detail
