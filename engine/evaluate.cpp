// SPDX-License-Identifier: Apache-2.0
// The loops over data. The source is stopped in any case, also after an error, so that its threads never write into freed
// slots.
// Tests: tests/golden/accuracy_test.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/session.h"
#include "engine/batch_loop.h"

namespace elek {
namespace {

bool all_finite(std::span<const float> logits) {
  return std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); });
}

/// Adds one sample to the sums of hits and losses. True if the label came first.
bool judge(std::span<const float> logits, size_t label, Accuracy& sums) {
  const float own = logits[label];
  int64_t ahead = 0;  // classes ahead of the label's: a higher logit, or an equal one of a lower class. NaN is ahead of nothing
  double top = -std::numeric_limits<double>::infinity();
  for (size_t c = 0; c < logits.size(); ++c) {
    top = std::max(top, static_cast<double>(logits[c]));
    const bool wins = logits[c] > own || (logits[c] == own && c < label) || (std::isnan(own) && !std::isnan(logits[c]));
    if (c != label && wins) ++ahead;
  }
  const bool wrong = std::isnan(own);  // a NaN logit is never a hit, not even among five classes
  sums.top1 += !wrong && ahead < 1 ? 1.0 : 0.0;
  sums.top5 += !wrong && ahead < 5 ? 1.0 : 0.0;
  double total = 0;
  for (const float value : logits) total += std::exp(static_cast<double>(value) - top);
  sums.loss += std::log(total) + top - static_cast<double>(own);
  return !wrong && ahead < 1;
}

}  // namespace

int64_t for_each_batch(Session& session, BatchSource& source, int64_t max_batches, const Progress& progress,
                       const std::function<void(const Slot&, std::span<const float> logits)>& visit) {
  int64_t total = source.samples();
  if (max_batches > 0) total = std::min(total, max_batches * session.options().batch);
  const SourcePass pass(source, session.slots());
  const auto see = [&](const Slot& slot, std::span<const float> logits) {
    if (visit) visit(slot, logits);
  };
  const auto report = [&](int64_t done) {
    if (progress) progress(done, total);
  };
  return batch_loop(session, source, max_batches, throw_if_interrupted, see, report);
}

Accuracy evaluate(Session& session, BatchSource& source, const Progress& progress, std::vector<uint8_t>* hits) {
  Accuracy sums;
  int64_t not_finite = 0;
  if (hits != nullptr) hits->clear();
  sums.samples = for_each_batch(session, source, 0, progress, [&](const Slot& slot, std::span<const float> logits) {
    const size_t classes = logits.size() / static_cast<size_t>(slot.count);
    for (int64_t n = 0; n < slot.count; ++n) {
      const int32_t label = slot.labels[n];
      if (label < 0 || static_cast<size_t>(label) >= classes) {
        throw InputError(source.description() + ": a sample " +
                         (label < 0 ? "has no label" : "has label " + std::to_string(label)) + ", expected a label from 0 to " +
                         std::to_string(classes - 1) + ", because the network has " + std::to_string(classes) +
                         " classes; use data that are labelled for this network");
      }
      const std::span<const float> own = logits.subspan(static_cast<size_t>(n) * classes, classes);
      if (!all_finite(own)) ++not_finite;
      const bool hit = judge(own, static_cast<size_t>(label), sums);
      if (hits != nullptr) hits->push_back(hit ? 1 : 0);
    }
  });
  if (not_finite > 0) {
    warn(source.description() + ": the logits of " + std::to_string(not_finite) + " of " + std::to_string(sums.samples) +
         " images are NaN or infinite; the weights overflow, or the preprocessing is not the network's");
  }
  if (sums.samples > 0) {
    const auto n = static_cast<double>(sums.samples);
    sums.top1 /= n;
    sums.top5 /= n;
    sums.loss /= n;
  }
  return sums;
}

}  // namespace elek
