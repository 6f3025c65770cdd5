// SPDX-License-Identifier: Apache-2.0
// Adam (Kingma & Ba 2015, arXiv 1412.6980), with a step of its own for each tensor: a share of the tensor's root mean square at
// the start. So all layers change at the same relative speed, although folded weights differ by orders of magnitude.
// Weights that are zero stay zero: they are masked. Tests: tests/train/adam_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/memory.h"
#include "train/trainer.h"

namespace elek::train {

class Adam {
 public:
  /// `relative_step`: the step of a tensor / its root mean square. A tensor of zeros takes its layer's weights' step. The
  /// trainer must outlive it. Memory: two numbers per parameter.
  Adam(Trainer& trainer, double relative_step, int threads, MemoryResource& memory);
  /// Moves all parameters against their gradients; `factor` scales the step (warm-up, decay).
  void step(double factor);

 private:
  Trainer& trainer_;
  int threads_;
  std::vector<double> steps_;  // one per parameter
  Buffer mean_, square_;       // running averages of the gradient and of its square, in the parameters' order
  int64_t taken_ = 0;
};

}  // namespace elek::train
