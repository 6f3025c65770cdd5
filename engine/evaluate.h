// SPDX-License-Identifier: Apache-2.0
// The two loops over data: evaluate() for accuracy, for_each_batch() for anything else (collection, re-estimation, logits).
// Tests: tests/golden/accuracy_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/batch_source.h"
#include "engine/session.h"

namespace elek {

/// Called after each batch with the samples done so far and their total.
using Progress = std::function<void(int64_t done, int64_t total)>;

/// Runs up to `max_batches` batches (0 = all) of the source through the session; `visit` (may be empty) sees each batch's
/// labels and logits [count, classes], in order; the slot's pixels are back with the loader by then (null). Stops the source in
/// any case. Throws Interrupted between batches when asked to. Returns samples.
int64_t for_each_batch(Session& session, BatchSource& source, int64_t max_batches, const Progress& progress,
                       const std::function<void(const Slot&, std::span<const float> logits)>& visit = {});

struct Accuracy {
  int64_t samples = 0;
  double top1 = 0;  // fractions
  double top5 = 0;  // 1 where there are at most five classes
  double loss = 0;  // mean cross-entropy, natural logarithm
};
/// InputError if a label is missing or outside the network's classes. Ties in the logits go to the lower class, NaN never wins.
/// `hits`, if given, becomes one a sample in the source's order: 1 where the label came first. Two networks' hits on the same
/// samples tell their difference from noise far better than their two accuracies do.
[[nodiscard]] Accuracy evaluate(Session& session, BatchSource& source, const Progress& progress = {},
                                std::vector<uint8_t>* hits = nullptr);

}  // namespace elek
