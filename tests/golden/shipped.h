// SPDX-License-Identifier: Apache-2.0
// The shipped network as its weights file describes it, and the folder of the file and its images.
#pragma once

#include <string>

#include "elek/model.h"
#include "models/model_file.h"
#include "models/weights_file.h"

namespace elek::test {

inline const std::string kShippedFolder = std::string(ELEK_SOURCE_DIR) + "/data/fashion-mnist";

inline Model shipped_model() {
  const WeightsFile weights = WeightsFile::open(kShippedFolder + "/resnet20_fashion_mnist.safetensors");
  ResNetSpec spec = resnet_spec("cifar_resnet20");
  spec.input = {1, 28, 28};
  spec = infer_from_weights(spec, weights);
  Model model;
  model.architecture = "cifar_resnet20";
  model.graph = build_resnet(spec);
  model.parameters = load_weights(weights, model.graph, host_resource());
  model.preprocessing = {{0.2860F}, {0.3530F}};
  return model;
}

}  // namespace elek::test
