// SPDX-License-Identifier: Apache-2.0
// Weight selection (Wanda, Sun et al. 2023, arXiv 2306.11695): weights compete by |w| * norm of their inputs. Ties are broken
// by index, so that a partial sort gives the same mask everywhere.
// Tests: tests/prune/select_weights_test.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/at.h"
#include "core/error.h"
#include "core/hint.h"
#include "prune/early_checks.h"
#include "prune/layer_weights.h"
#include "prune/score.h"
#include "prune/select.h"

namespace elek {

void check_target(const Graph& graph, const WeightTarget& target) {
  if (target.m != 0 || target.n != 0) {
    if (!(target.n >= 1 && target.n < target.m)) {
      throw UsageError("the pattern is " + std::to_string(target.n) + ":" + std::to_string(target.m) +
                       ", expected n:m with 1 <= n < m (n of m weights are kept)");
    }
    if (target.sparsity != 0) throw UsageError("both a sparsity and a pattern were given; give one");
  } else if (!(target.sparsity >= 0.0 && target.sparsity < 1.0)) {
    throw UsageError("the sparsity is " + share_text(target.sparsity) + ", expected at least 0 and less than 1");
  }
  for (const std::string& name : target.ignore) {
    const ValueId id = graph.find(name);
    if (id < 0 || !has_weights(graph.node(id))) {
      throw Hinted<UsageError>(Hint::kLayerNames,
                               "'" + name + "' is to be ignored, but no convolution or linear layer has that name");
    }
  }
}

namespace {

/// |w| * norm of every weight, row-major like the parameter.
std::vector<double> weight_scores(const LayerWeights& layer, const TapNorms& norms) {
  std::vector<double> scores;
  scores.reserve(layer.data.size());
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t i = 0; i < layer.inputs; ++i) {
      const int64_t c = layer.input_channel(k, i);
      for (int64_t tap = 0; tap < layer.taps; ++tap) {
        scores.push_back(std::fabs(layer.at(k, i, tap)) * std::sqrt(norms.norm_sq[at(c * layer.taps + tap)]));
      }
    }
  }
  return scores;
}

/// Clears the mask of the `count` weights in `rivals` with the lowest scores, ties by index. `rivals` holds indices and is
/// reordered.
void remove_lowest(const std::vector<double>& scores, std::vector<int64_t>& rivals, int64_t count, WeightCut& cut) {
  if (count <= 0) return;
  const auto lower = [&](int64_t a, int64_t b) {
    return scores[at(a)] != scores[at(b)] ? scores[at(a)] < scores[at(b)] : a < b;
  };
  std::nth_element(rivals.begin(), rivals.begin() + (count - 1), rivals.end(), lower);
  for (int64_t i = 0; i < count; ++i) cut.keep[at(rivals[at(i)])] = 0;
  cut.removed += count;
}

void remove_share(const LayerWeights& layer, const std::vector<double>& scores, const WeightTarget& target, WeightCut& cut) {
  const int64_t rows = target.compare == Compare::kOutput ? layer.outputs : 1;
  const int64_t length = std::ssize(scores) / rows;
  const int64_t count = std::min(length - 1, static_cast<int64_t>(std::llround(target.sparsity * static_cast<double>(length))));
  std::vector<int64_t> rivals(at(length));
  for (int64_t row = 0; row < rows; ++row) {
    std::iota(rivals.begin(), rivals.end(), row * length);
    remove_lowest(scores, rivals, count, cut);
  }
}

void remove_pattern(const LayerWeights& layer, const std::vector<double>& scores, const WeightTarget& target, WeightCut& cut) {
  std::vector<int64_t> rivals;
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t first = 0; first + target.m <= layer.inputs; first += target.m) {
      for (int64_t tap = 0; tap < layer.taps; ++tap) {
        rivals.clear();
        for (int64_t i = first; i < first + target.m; ++i) rivals.push_back((k * layer.inputs + i) * layer.taps + tap);
        remove_lowest(scores, rivals, target.m - target.n, cut);
      }
    }
  }
}

std::string target_text(const WeightTarget& target) {
  std::string text;
  if (target.m > 0) {
    text = "pattern=" + std::to_string(target.n) + ":" + std::to_string(target.m);
  } else {
    text = "sparsity=" + share_text(target.sparsity);
    text += target.compare == Compare::kLayer ? " compare=layer" : " compare=output";
  }
  for (const std::string& name : target.ignore) text += " ignore=" + name;
  return text;
}

}  // namespace

PrunePlan select_weights(const Model& model, const Statistics& statistics, const WeightTarget& target) {
  check_target(model.graph, target);
  Probes probed;
  for (const auto& [name, norms] : statistics.tap_norms) {
    if (model.graph.find(name) < 0)
      throw InputError("statistics: tap norms of layer '" + name + "', which this model does not have");
    probed.tap_norms.push_back(name);
  }
  if (probed.empty())
    throw InputError("statistics: expected tap norms, found none; take the statistics again for wanda on weights");
  check_statistics(model, statistics, probed);
  const std::set<std::string> ignored(target.ignore.begin(), target.ignore.end());
  PrunePlan plan;
  plan.criterion = "wanda";
  plan.target = target_text(target);
  for (const Node& node : model.graph.nodes()) {  // in graph order, for readers of the plan
    const auto norms = statistics.tap_norms.find(node.name);
    if (norms == statistics.tap_norms.end() || ignored.count(node.name) != 0) continue;
    const LayerWeights layer = layer_weights(model, model.graph.at(node.name));
    const std::vector<double> scores = weight_scores(layer, norms->second);
    WeightCut cut{node.name, std::vector<uint8_t>(scores.size(), 1), 0};
    if (target.m > 0) {
      remove_pattern(layer, scores, target, cut);
    } else {
      remove_share(layer, scores, target, cut);
    }
    if (cut.removed > 0) plan.weights.push_back(std::move(cut));
  }
  return plan;
}

}  // namespace elek
