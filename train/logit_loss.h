// SPDX-License-Identifier: Apache-2.0
// The loss of the distillation: how far one network's logits are from another's, relative to their size. The mean of an image's
// logits is subtracted from both, because it changes no probability. Tests: tests/train/distill_test.cpp
#pragma once

#include <cstdint>
#include <span>

namespace elek::train {

/// sum |s - t|^2 / sum |t|^2 over all images added, s and t less their mean over the classes. With one class the mean stays. 0
/// if both sums are 0.
class LogitLoss {
 public:
  explicit LogitLoss(int64_t classes) : classes_(classes) {}
  /// student, dense: [samples, classes]
  void add(std::span<const float> student, std::span<const float> dense);
  [[nodiscard]] double value() const;

 private:
  int64_t classes_;
  double error_ = 0, size_ = 0;
};

/// sum |t|^2 of a batch.
[[nodiscard]] double logit_size(std::span<const float> dense, int64_t classes);
/// The gradient of the loss of a batch with respect to the student's logits, for some of its images. `size`: of the whole
/// batch. Zero if that is 0.
void logit_gradient(std::span<const float> student, std::span<const float> dense, int64_t classes, double size,
                    std::span<float> gradient);

}  // namespace elek::train
