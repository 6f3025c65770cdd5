// SPDX-License-Identifier: Apache-2.0
// What the tests of sessions share: running pixels through a session in batches, and the double oracle's answer to them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/session.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek::test {

/// Runs `samples` samples in batches of at most `batch`, through both slots in turn; all logits.
inline std::vector<float> run_all(Session& session, const std::vector<uint8_t>& pixels, int64_t samples, int64_t batch) {
  std::vector<float> logits;
  size_t turn = 0;
  for (int64_t first = 0; first < samples; first += batch) {
    Slot& slot = session.slots()[turn++ % 2];
    slot.count = std::min(batch, samples - first);
    const auto each = static_cast<size_t>(slot.shape.elements());
    std::memcpy(slot.pixels, pixels.data() + static_cast<size_t>(first) * each, static_cast<size_t>(slot.count) * each);
    const auto made = session.run(slot);
    logits.insert(logits.end(), made.begin(), made.end());
  }
  return logits;
}

inline double largest(const std::vector<double>& values) {
  double out = 0;
  for (const double v : values) out = std::max(out, std::fabs(v));
  return out;
}

/// The names of every value that a session of this model stores, with those that fusion draws in left out.
inline std::vector<std::string> stored_names(const Model& model, BatchNorm batch_norm = BatchNorm::kFold) {
  std::vector<std::string> names;
  const FusedGraph fused = fuse(model.graph, batch_norm);
  names.push_back(model.graph.node(fused.input).name);
  for (const FusedNode& step : fused.steps) names.push_back(model.graph.node(step.output).name);
  return names;
}

inline std::vector<std::string> kernel_names(const Model& model) {
  std::vector<std::string> names;
  for (const Node& node : model.graph.nodes()) {
    if (node.is<Conv2dAttrs>() || node.is<LinearAttrs>()) names.push_back(node.name);
  }
  return names;
}

}  // namespace elek::test
