// SPDX-License-Identifier: Apache-2.0
// Mean cross-entropy with the images' labels, natural logarithm, and its gradient. Tests: tests/train/label_loss_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace elek::train {

/// sum over the images of log(sum_k exp(s_k)) - s_label, in double. logits: [samples, classes]; labels: [samples], each in
/// [0, classes).
[[nodiscard]] double label_loss_sum(std::span<const float> logits, std::span<const int32_t> labels);

/// gradient += share * (softmax(s) - onehot(label)) / samples
void add_label_gradient(std::span<const float> logits, std::span<const int32_t> labels, double share,
                        std::span<float> gradient);

/// The label of image `index` of `images`. InputError naming both if it is not in [0, classes).
[[nodiscard]] int32_t checked_label(int32_t label, int64_t classes, int64_t index, const std::string& images);

}  // namespace elek::train
