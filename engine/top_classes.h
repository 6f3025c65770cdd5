// SPDX-License-Identifier: Apache-2.0
// The likeliest classes of one image, from its logits: what a program shows of a run.
// Tests: tests/api/top_classes_test.cpp
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace elek {

struct ClassProbability {
  size_t index = 0;
  double probability = 0;  // the softmax of its logit, in double
};

/// The `count` classes with the largest logits, best first (all, if there are fewer). Equal logits go by index; NaN comes last,
/// and makes every probability NaN.
[[nodiscard]] std::vector<ClassProbability> top_classes(std::span<const float> logits, size_t count);

}  // namespace elek
