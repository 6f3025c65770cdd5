// SPDX-License-Identifier: Apache-2.0
#include "cli/labelled.h"

#include <optional>
#include <utility>

#include "core/runtime.h"
#include "data/match_classes.h"
#include "data/sample.h"

namespace elek::cli {
namespace {

void warn_of_copies(const Dataset& data, const std::string& where) {
  const int64_t different = different_samples(data);
  if (2 * different > data.size()) return;
  warn(where + ": of the " + std::to_string(data.size()) + " calibration images only " + std::to_string(different) +
       " are different; choice and repair are good only for images like these");
}

}  // namespace

std::shared_ptr<const Dataset> labelled_data(const std::string& word, const Model& model, const Output& output, int64_t limit) {
  const int64_t classes = model.graph.node(model.graph.output()).shape.elements();
  std::shared_ptr<const Dataset> data = parse_data(word, model.graph.input_shape());
  std::shared_ptr<const Dataset> labelled = labelled_for(data, classes, model.labels, word);
  if (labelled != data) output.note("note: " + word + ": its classes are matched to the network's by their names");
  labelled = first_samples(std::move(labelled), limit);
  const ImageShape input = model.graph.input_shape();
  const std::optional<ImageShape> images = data->shape();
  if (images && (images->height != input.height || images->width != input.width)) {
    const auto size = [](const ImageShape& shape) { return std::to_string(shape.height) + "x" + std::to_string(shape.width); };
    output.note("note: " + word + ": its images of " + size(*images) + " are resized to the network's input, " + size(input) +
                "; prepare --input gives the network another input size");
  }
  detail::warn_of_few_classes(*labelled, labelled->classes(), word);
  return labelled;
}

std::shared_ptr<const Dataset> calibration_data(const std::string& word, const ImageShape& shape, int64_t count,
                                                uint64_t seed) {
  std::shared_ptr<const Dataset> all = parse_data(word, shape);
  detail::warn_of_few_classes(*all, all->classes(), word);
  std::shared_ptr<const Dataset> sample = shuffled_sample(std::move(all), count, seed);
  warn_of_copies(*sample, word);
  return sample;
}

}  // namespace elek::cli
