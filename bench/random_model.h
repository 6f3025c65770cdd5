// SPDX-License-Identifier: Apache-2.0
// ResNets with random weights, and random pixels: for suites whose times do not depend on the values of the weights.
#pragma once

#include <string>

#include "core/runtime.h"
#include "elek/batch_source.h"
#include "elek/model.h"

namespace elek::bench {

/// A seeded network of that family and depth.
inline Model random_model(const std::string& arch, Stem stem, const ImageShape& input, int64_t classes) {
  ResNetSpec spec = resnet_spec(arch);
  spec.stem = stem;
  spec.input = input;
  spec.classes = classes;
  Model model;
  model.architecture = arch;
  model.graph = build_resnet(spec);
  model.parameters = random_parameters(model.graph, 7, host_resource());
  model.preprocessing = default_preprocessing(input.channels);
  return model;
}

/// Fills the whole slot, without labels.
inline void fill_with_random_pixels(Slot& slot) {
  Random random(11);
  slot.count = slot.capacity;
  const int64_t bytes = slot.count * slot.shape.elements();
  for (int64_t i = 0; i < bytes; ++i) slot.pixels[i] = static_cast<uint8_t>(random.below(256));
  for (int64_t n = 0; n < slot.count; ++n) slot.labels[n] = -1;
}

}  // namespace elek::bench
