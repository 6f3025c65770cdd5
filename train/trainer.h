// SPDX-License-Identifier: Apache-2.0
// A network that can be trained: forward with the values kept that the backward pass needs, backward to the gradients of all
// weights and biases. f32, on the CPU. The caller computes the loss's gradient, and changes the parameters (train/adam.h).
// Batch norm is folded: weight and bias of a layer are those of the convolution and its batch norm together. model() puts them
// back. A batch norm that follows no convolution keeps its statistics and its parameters.
// All memory is taken when the trainer is made: parameters, gradients, and one arena for values, their gradients and
// workspaces, planned as in a session. forward() and backward() allocate nothing.
// Tests: tests/train/trainer_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/memory.h"
#include "plan/program.h"

namespace elek::train {

struct TrainerOptions {
  int64_t batch = 50;                // largest number of samples in a step
  int threads = 0;                   // 0 = all
  MemoryResource* memory = nullptr;  // null = the host's own
};

/// Weight or bias of one layer.
struct Parameter {
  std::string name;  // "layer1.0.conv1.weight"; the bias of a folded batch norm has the convolution's name
  std::span<float> values;
  std::span<const float> gradient;
  bool is_bias = false;
};

class Trainer {
 public:
  /// OutOfMemory if the memory does not suffice. The trainer shares the model's tensors.
  Trainer(Model model, const TrainerOptions& options);
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;
  ~Trainer();

  /// Returns the logits [samples, classes], row-major; valid until the next call. pixels: [samples, H, W, C] uint8.
  std::span<const float> forward(std::span<const uint8_t> pixels, int64_t samples);
  /// The same from normalised values [samples, C, H, W].
  std::span<const float> forward_values(std::span<const float> x, int64_t samples);
  /// From the gradient of the loss with respect to the logits of the last forward(), [samples, classes], to the gradients of
  /// all parameters, which are overwritten, or with `add` added to: for batches larger than fit into memory at once. Once per
  /// forward(), because values share memory with gradients.
  void backward(std::span<const float> gradient, bool add = false);

  [[nodiscard]] std::span<const Parameter> parameters() const noexcept;
  /// All parameters in one array, with zeros between them: to save and restore them.
  [[nodiscard]] std::span<float> parameter_slab() noexcept;
  /// The model with the parameters of now. A folded batch norm becomes an addition of its bias, with its old variance.
  [[nodiscard]] Model model(MemoryResource& resource) const;

  [[nodiscard]] const MemoryPlan& plan() const noexcept;
  [[nodiscard]] int64_t classes() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace elek::train
