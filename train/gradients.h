// SPDX-License-Identifier: Apache-2.0
// Gradients of a network's loss over images, batch after batch, without changing the network: what criteria by gradient add up.
// The loss of an image is the cross-entropy with its label. The label comes from the source, or is what
// the network predicts. f32, on the CPU.
// Memory does not depend on the number of images: parameters, one set of gradients, one arena, two slots of images.
// Tests: tests/train/gradients_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/session.h"
#include "train/trainer.h"

namespace elek::train {

/// kGiven: the source's. kPredicted: the class of the network's largest logit.
enum class Labels : uint8_t { kGiven, kPredicted };

struct GradientOptions {
  int64_t batch = 50;  // images that the source gives at a time
  /// Each image has a gradient of its own; otherwise each batch has the gradient of its mean loss.
  bool each_image = false;
  Labels labels = Labels::kPredicted;
  /// Most memory for the values of a step and their gradients. A batch that needs more runs in parts, whose gradients are
  /// added; one image always runs.
  size_t arena_bytes = size_t{256} << 20;
  int threads = 0;                   // 0 = all
  MemoryResource* memory = nullptr;  // null = the host's own
};

/// The gradient of the mean loss of `images` images, from image `first` of the source on.
struct Gradient {
  std::span<const Parameter> parameters;  // the same parameters at each call, as Trainer gives them
  int64_t first = 0;
  int64_t images = 0;
};

/// What for_each_gradient() holds.
struct GradientMemory {
  int64_t part = 0;  // images that run forward and back together
  size_t bytes = 0;  // at most at one time
};
[[nodiscard]] GradientMemory gradient_memory(const Graph& graph, const GradientOptions& options);

/// One pass over the images; calls `each` for every gradient. `progress` counts images. InputError naming the image if a logit
/// is NaN or infinite, or if labels are wanted and it has none that the network knows; OutOfMemory; DeviceError in a build
/// without the CPU backend.
void for_each_gradient(const Model& model, BatchSource& images, const GradientOptions& options,
                       const std::function<void(const Gradient&)>& each, const Progress& progress);

}  // namespace elek::train
