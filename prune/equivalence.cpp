// SPDX-License-Identifier: Apache-2.0
// The check that every cut makes: compares the compact network with the masked dense one, on one batch of real images.
// Tests: tests/prune/equivalence_test.cpp
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "prune/apply.h"

namespace elek {
namespace {

/// Logits of the source's first batch. The session is destroyed on return, so only one session is in memory at a time.
std::vector<float> first_logits(const Model& model, BatchSource& source, const SessionOptions& options) {
  Session session(model, options);
  const SourcePass pass(source, session.slots());
  const Slot* slot = source.next();
  ELEK_CHECK(slot != nullptr, "check_equivalence: '" + source.description() + "' gave no sample to compare on");
  const std::span<const float> logits = session.run(*slot);
  return {logits.begin(), logits.end()};
}

/// Terms in each of the layer's sums.
int64_t terms(const Graph& graph, const Node& node) {
  const Shape weight = op_parameters(graph, node).front().shape;
  return weight.elements() / weight[0];
}

}  // namespace

double equivalence_bound(const Graph& dense, double largest_logit) {
  double total = 0;
  for (const Node& node : dense.nodes()) {
    if (has_weights(node)) total += static_cast<double>(terms(dense, node));
  }
  return kEquivalenceSafety * static_cast<double>(std::numeric_limits<float>::epsilon()) * std::sqrt(total) * largest_logit;
}

Equivalence check_equivalence(const Model& compact, const Model& masked, BatchSource& source, SessionOptions options) {
  options.probes = {};
  options.batch_moments = false;
  options.precision = Precision::kF32;  // the bound is for f32; 16-bit rounding would hide defects
  const std::vector<float> want = first_logits(masked, source, options);  // the larger one first
  const std::vector<float> got = first_logits(compact, source, options);
  ELEK_CHECK(!want.empty() && got.size() == want.size(), "check_equivalence: " + std::to_string(got.size()) +
                                                             " logits of the cut network, " + std::to_string(want.size()) +
                                                             " of the masked one");
  if (!std::all_of(want.begin(), want.end(), [](float logit) { return std::isfinite(logit); })) {
    throw InputError(source.description() +
                     ": the network's logits for its first images are NaN or infinite, so the cut cannot be checked; its " +
                     "weights overflow, or its preprocessing is wrong");
  }
  Equivalence result;
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(difference <= result.difference)) result.difference = difference;  // a NaN stays: comparisons with it are false
    if (!std::isfinite(difference)) break;
    largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
  }
  result.bound = equivalence_bound(masked.graph, largest);
  result.samples = std::ssize(want) / masked.graph.node(masked.graph.output()).shape.elements();
  ELEK_CHECK(result.difference <= result.bound, "the cut network differs from the masked network by " +
                                                    std::to_string(result.difference) + ", expected at most " +
                                                    std::to_string(result.bound) + "; the cut is not exact, please report it");
  return result;
}

}  // namespace elek
