// SPDX-License-Identifier: Apache-2.0
// See gradients.h. Tests: tests/train/gradients_test.cpp
#include "train/gradients.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "core/threads.h"
#include "plan/plan.h"
#include "train/batch_part.h"
#include "train/label_loss.h"
#include "train/program.h"

namespace elek::train {
namespace {

int threads_of(const GradientOptions& options) { return options.threads > 0 ? options.threads : default_threads(); }
int64_t images_a_gradient(const GradientOptions& options) { return options.each_image ? 1 : options.batch; }

class Gradients {
 public:
  Gradients(const Model& model, BatchSource& images, const GradientOptions& options)
      : options_(options),
        images_(images),
        shape_(model.graph.input_shape()),
        each_(at(shape_.elements())),
        part_(part_that_fits(model.graph, images_a_gradient(options), threads_of(options), options.arena_bytes)),
        trainer_(model, {.batch = part_, .threads = threads_of(options), .memory = options.memory}),
        pixels_(2 * at(options.batch) * each_, options.memory != nullptr ? *options.memory : host_resource(),
                {"images for gradients", Use::kStaging}),
        slot_labels_(2 * at(options.batch)),
        part_labels_(at(part_)),
        gradient_(at(part_ * trainer_.classes())) {}

  void run(const std::function<void(const Gradient&)>& each, const Progress& progress) {
    std::array<Slot, 2> lent{slot(0), slot(1)};
    std::ranges::fill(slot_labels_, -1);  // a source without labels leaves them
    const SourcePass pass(images_, lent);
    int64_t done = 0;
    while (const Slot* filled = images_.next()) {
      for (int64_t first = 0; first < filled->count;) {
        throw_if_interrupted();
        const int64_t count = std::min(images_a_gradient(options_), filled->count - first);
        take(*filled, first, count, done);
        each({trainer_.parameters(), done, count});
        first += count;
        done += count;
        if (progress) progress(done, images_.samples());
      }
    }
  }

 private:
  [[nodiscard]] Slot slot(size_t i) {
    Slot made;
    made.pixels = static_cast<uint8_t*>(pixels_.data()) + i * at(options_.batch) * each_;
    made.labels = slot_labels_.data() + i * at(options_.batch);
    made.capacity = options_.batch;
    made.shape = shape_;
    return made;
  }

  /// The gradient of the mean loss of `count` images from `first` on, in parts. `index`: of the first in the source.
  void take(const Slot& images, int64_t first, int64_t count, int64_t index) {
    for (int64_t done = 0; done < count; done += part_) {
      const int64_t n = std::min(part_, count - done);
      const size_t begin = at(first + done);
      const std::span<const float> logits = trainer_.forward({images.pixels + begin * each_, at(n) * each_}, n);
      for (int64_t i = 0; i < n; ++i) {
        const auto of_image = logits.subspan(at(i * trainer_.classes()), at(trainer_.classes()));
        part_labels_[at(i)] = label_of(images.labels[begin + at(i)], of_image, index + done + i);
      }
      const std::span<float> gradient{gradient_.data(), logits.size()};
      std::ranges::fill(gradient, 0.0F);
      const double share = static_cast<double>(n) / static_cast<double>(count);
      add_label_gradient(logits, {part_labels_.data(), at(n)}, share, gradient);
      trainer_.backward(gradient, done > 0);
    }
  }

  [[nodiscard]] int32_t label_of(int32_t given, std::span<const float> logits, int64_t index) const {
    if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) {
      throw InputError("gradients: a logit of image " + std::to_string(index) + " of '" + images_.description() +
                       "' is NaN or infinite; check the model's weights, and that the images are what the network expects");
    }
    if (options_.labels == Labels::kGiven) return checked_label(given, trainer_.classes(), index, images_.description());
    return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  }

  const GradientOptions& options_;
  BatchSource& images_;
  const ImageShape shape_;
  const size_t each_;   // bytes of an image
  const int64_t part_;  // images that run forward and back together
  Trainer trainer_;
  Buffer pixels_;
  std::vector<int32_t> slot_labels_, part_labels_;
  std::vector<float> gradient_;  // of the loss, with respect to the logits
};

}  // namespace

GradientMemory gradient_memory(const Graph& graph, const GradientOptions& options) {
  const int64_t part = part_that_fits(graph, images_a_gradient(options), threads_of(options), options.arena_bytes);
  const TrainProgram program = make_train_program(graph, part, threads_of(options));
  size_t largest = 0;  // a layer's folded weights and bias, without padding, while the trainer is made
  for (const TrainLayer& layer : program.layers) {
    largest = std::max(largest, at(layer.weight.elements() + layer.weight[0]) * sizeof(float));
  }
  const size_t pixels = 2 * at(options.batch * graph.input_shape().elements());
  const size_t trainer = 2 * program.parameter_floats * sizeof(float) + plan(program.memory).arena_bytes;
  return {part, trainer + std::max(largest, pixels)};
}

void for_each_gradient(const Model& model, BatchSource& images, const GradientOptions& options,
                       const std::function<void(const Gradient&)>& each, const Progress& progress) {
  ELEK_CHECK(options.batch >= 1, "gradients: a batch of " + std::to_string(options.batch) + " images");
  if (images.samples() == 0) throw InputError("gradients: '" + images.description() + "' has no sample");
  Gradients(model, images, options).run(each, progress);
}

}  // namespace elek::train
