// SPDX-License-Identifier: Apache-2.0
// See label_loss.h. Tests: tests/train/label_loss_test.cpp
#include "train/label_loss.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"

namespace elek::train {
namespace {

/// log(sum exp) without overflow.
double log_sum(std::span<const float> logits) {
  const double most = double{*std::ranges::max_element(logits)};
  double sum = 0;
  for (const float v : logits) sum += std::exp(double{v} - most);
  return most + std::log(sum);
}

}  // namespace

double label_loss_sum(std::span<const float> logits, std::span<const int32_t> labels) {
  const size_t classes = logits.size() / std::max<size_t>(1, labels.size());
  double sum = 0;
  for (size_t n = 0; n < labels.size(); ++n) {
    const auto image = logits.subspan(n * classes, classes);
    sum += log_sum(image) - double{image[at(labels[n])]};
  }
  return sum;
}

void add_label_gradient(std::span<const float> logits, std::span<const int32_t> labels, double share,
                        std::span<float> gradient) {
  const size_t classes = logits.size() / std::max<size_t>(1, labels.size());
  const double each = share / static_cast<double>(labels.size());
  for (size_t n = 0; n < labels.size(); ++n) {
    const auto image = logits.subspan(n * classes, classes);
    const double log_total = log_sum(image);
    for (size_t k = 0; k < classes; ++k) {
      const double probability = std::exp(double{image[k]} - log_total);
      gradient[n * classes + k] += static_cast<float>(each * (probability - (k == at(labels[n]) ? 1.0 : 0.0)));
    }
  }
}

int32_t checked_label(int32_t label, int64_t classes, int64_t index, const std::string& images) {
  if (label >= 0 && label < classes) return label;
  throw InputError("training with labels: image " + std::to_string(index) + " of '" + images + "' has " +
                   (label < 0 ? "no label" : "the label " + std::to_string(label)) + ", expected 0 to " +
                   std::to_string(classes - 1) + " (the network's classes)");
}

}  // namespace elek::train
