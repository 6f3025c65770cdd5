// SPDX-License-Identifier: Apache-2.0
// Are these layers one residual block? The convolutions are tried in every order. Kernels and channels must fit a basic block
// (two square windows) or a bottleneck (1x1, window, 1x1), with or without a projection. Among the orders that fit, the names
// decide. Tests: tests/models/import_names_test.cpp
#include <algorithm>
#include <numeric>
#include <set>

#include "models/structure.h"

namespace elek::detail {
namespace {

bool is_square_odd(const FileLayer& conv) { return conv.shape[2] == conv.shape[3] && conv.shape[2] % 2 == 1; }
bool is_window(const FileLayer& conv) { return is_square_odd(conv) && conv.kernel() >= 3; }
bool is_point(const FileLayer& conv) { return conv.shape[2] == 1 && conv.shape[3] == 1; }

/// How many convolution groups, if `conv` reads `channels` channels; 0 if it cannot.
int64_t groups_for(const FileLayer& conv, int64_t channels) {
  if (channels % conv.inputs() != 0) return 0;
  const int64_t groups = channels / conv.inputs();
  return conv.outputs() % groups == 0 ? groups : 0;
}

/// One way to read the convolutions: main branch, then the projection, if any.
struct Arrangement {
  std::vector<const FileLayer*> branch;
  const FileLayer* projection = nullptr;
  int64_t groups = 1;  // of a bottleneck's window
};

bool is_basic(const Arrangement& a) {
  return a.branch.size() == 2 && is_window(*a.branch[0]) && is_window(*a.branch[1]) &&
         a.branch[1]->inputs() == a.branch[0]->outputs();
}

bool is_bottleneck(Arrangement& a) {
  if (a.branch.size() != 3 || !is_point(*a.branch[0]) || !is_window(*a.branch[1]) || !is_point(*a.branch[2])) return false;
  a.groups = groups_for(*a.branch[1], a.branch[0]->outputs());
  return a.groups > 0 && a.branch[2]->inputs() == a.branch[1]->outputs();
}

bool projects(const Arrangement& a) {
  return a.projection == nullptr || (is_square_odd(*a.projection) && a.projection->inputs() == a.branch.front()->inputs() &&
                                     a.projection->outputs() == a.branch.back()->outputs());
}

/// Names that contradict the arrangement: a shortcut's name in the branch.
int contradictions(const Arrangement& a, const Words& block) {
  const auto below = [&](const FileLayer& layer) {
    return Words(layer.words.begin() + static_cast<std::ptrdiff_t>(std::min(block.size(), layer.words.size())),
                 layer.words.end());
  };
  int count = 0;
  for (const FileLayer* conv : a.branch) count += names_shortcut(below(*conv)) ? 1 : 0;
  if (a.projection != nullptr) count += names_shortcut(below(*a.projection)) ? 0 : 1;
  return count;
}

/// In which order two layers are meant, as far as known.
struct Order {
  bool keeps_order;
  [[nodiscard]] bool before(const FileLayer& a, const FileLayer& b) const {
    if (keeps_order && !shows_order(a.words, b.words)) return a.position < b.position;
    return compare(a.words, b.words) < 0;
  }
  [[nodiscard]] bool is_known(const FileLayer& a, const FileLayer& b) const {
    return keeps_order || shows_order(a.words, b.words);
  }
};

Words common_prefix(std::span<const FileLayer> layers) {
  Words prefix = layers.front().words;
  for (const FileLayer& layer : layers) prefix.resize(common_words(prefix, layer.words));
  return prefix;
}

/// All arrangements that fit with the fewest contradictions; of these, first the one in the order of the names.
std::vector<Arrangement> arrangements(std::vector<const FileLayer*> convs, const Order& order, const Words& block) {
  std::sort(convs.begin(), convs.end(), [&](const FileLayer* a, const FileLayer* b) { return order.before(*a, *b); });
  std::vector<size_t> at(convs.size());
  std::iota(at.begin(), at.end(), size_t{0});
  std::vector<Arrangement> best;
  int fewest = 0;
  do {
    for (const bool projected : {false, true}) {
      Arrangement a;
      for (const size_t i : at) a.branch.push_back(convs[i]);
      if (projected) {
        a.projection = a.branch.back();
        a.branch.pop_back();
      }
      if (!(is_basic(a) || is_bottleneck(a)) || !projects(a)) continue;
      const int count = contradictions(a, block);
      if (!best.empty() && count > fewest) continue;
      if (best.empty() || count < fewest) best.clear();
      fewest = count;
      best.push_back(std::move(a));
    }
  } while (std::next_permutation(at.begin(), at.end()));
  return best;
}

/// Squeeze-and-excitation: two layers of one output per channel, C to r and r to C.
std::optional<SqueezeLayers> squeeze_of(const std::vector<const FileLayer*>& layers, int64_t channels) {
  if (layers.size() != 2) return std::nullopt;
  for (const auto& [first, second] : {std::pair(layers[0], layers[1]), std::pair(layers[1], layers[0])}) {
    if (first->kernel() == 1 && second->kernel() == 1 && first->inputs() == channels && second->outputs() == channels &&
        second->inputs() == first->outputs()) {
      return SqueezeLayers{*first, *second};
    }
  }
  return std::nullopt;
}

/// downsample.1 without a downsample.0: what stands at index 0 has no weights.
bool is_behind_a_pool(const FileLayer& projection, std::span<const FileLayer> layers) {
  if (projection.words.empty() || projection.words.back() != "1") return false;
  Words first = projection.words;
  first.back() = "0";
  return std::none_of(layers.begin(), layers.end(), [&](const FileLayer& layer) { return starts_with(layer.words, first); });
}

}  // namespace

std::optional<Block> match_block(std::span<const FileLayer> layers, bool keeps_order, std::vector<std::string>& guessed) {
  constexpr size_t kMostConvs = 6;  // a bottleneck, its projection, and two of squeeze-and-excitation
  size_t weighing = 0;
  for (const FileLayer& layer : layers) {
    if (layer.is(FileLayer::Kind::kConvolution) && ++weighing > kMostConvs) return std::nullopt;
  }
  if (weighing < 2) return std::nullopt;
  const Words block = common_prefix(layers);
  std::vector<const FileLayer*> convs;
  std::vector<const FileLayer*> squeeze;
  for (const FileLayer& layer : layers) {
    const Words below(layer.words.begin() + static_cast<std::ptrdiff_t>(block.size()), layer.words.end());
    const bool weighs = layer.is(FileLayer::Kind::kConvolution) || layer.is(FileLayer::Kind::kLinear);
    if (weighs && names_squeeze(below)) {
      squeeze.push_back(&layer);
    } else if (layer.is(FileLayer::Kind::kConvolution)) {
      convs.push_back(&layer);
    }
  }
  if (convs.size() < 2 || convs.size() > 4) return std::nullopt;
  const Order order{keeps_order};
  const std::vector<Arrangement> fitting = arrangements(convs, order, block);
  if (fitting.empty()) return std::nullopt;
  const Arrangement& taken = fitting.front();

  Block made;
  made.words = block;
  made.path = path_of(taken.branch.front()->path, block.size());
  for (const FileLayer* conv : taken.branch) made.branch.push_back({*conv, {}, 1});
  if (made.is_bottleneck()) made.branch[1].groups = taken.groups;
  if (taken.projection != nullptr) {
    made.projection = ConvLayer{*taken.projection, {}, 1};
    made.pooled_projection = is_behind_a_pool(*taken.projection, layers);
  }
  if (!squeeze.empty()) {
    made.squeeze = squeeze_of(squeeze, made.outputs());
    if (!made.squeeze) return std::nullopt;
  }
  for (size_t i = 1; fitting.size() > 1 && i < taken.branch.size(); ++i) {
    const FileLayer& a = *taken.branch[i - 1];
    const FileLayer& b = *taken.branch[i];
    if (!order.is_known(a, b)) guessed.push_back("the convolution '" + a.path + "' comes before '" + b.path + "'");
  }
  return made;
}

}  // namespace elek::detail
