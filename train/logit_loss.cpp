// SPDX-License-Identifier: Apache-2.0
// See logit_loss.h. Tests: tests/train/distill_test.cpp
#include "train/logit_loss.h"

#include "core/at.h"

namespace elek::train {
namespace {

double mean_of(std::span<const float> values) {
  if (values.size() == 1) return 0;
  double sum = 0;
  for (const float v : values) sum += double{v};
  return sum / static_cast<double>(values.size());
}

/// Calls f(index of the logit, s less its mean, t less its mean) for all logits.
template <typename F>
void for_centred(std::span<const float> student, std::span<const float> dense, int64_t classes, const F& f) {
  for (size_t first = 0; first < student.size(); first += at(classes)) {
    const auto s = student.subspan(first, at(classes)), t = dense.subspan(first, at(classes));
    const double s_mean = mean_of(s), t_mean = mean_of(t);
    for (size_t k = 0; k < s.size(); ++k) f(first + k, double{s[k]} - s_mean, double{t[k]} - t_mean);
  }
}

}  // namespace

void LogitLoss::add(std::span<const float> student, std::span<const float> dense) {
  for_centred(student, dense, classes_, [&](size_t /*i*/, double s, double t) {
    error_ += (s - t) * (s - t);
    size_ += t * t;
  });
}

double LogitLoss::value() const { return error_ == 0 ? 0 : error_ / size_; }

double logit_size(std::span<const float> dense, int64_t classes) {
  double size = 0;
  for_centred(dense, dense, classes, [&](size_t /*i*/, double /*s*/, double t) { size += t * t; });
  return size;
}

void logit_gradient(std::span<const float> student, std::span<const float> dense, int64_t classes, double size,
                    std::span<float> gradient) {
  // The centred errors of an image add up to 0, so the mean's own derivative adds nothing.
  for_centred(student, dense, classes,
              [&](size_t i, double s, double t) { gradient[i] = size > 0 ? static_cast<float>(2 * (s - t) / size) : 0.0F; });
}

}  // namespace elek::train
