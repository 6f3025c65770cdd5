// SPDX-License-Identifier: Apache-2.0
// The shipped network as its weights file describes it, and the folder of the file and its images.
#pragma once

#include <string>

#include "elek/model.h"
#include "models/import.h"
#include "models/weights_file.h"

namespace elek::test {

inline const std::string kShippedFolder = std::string(ELEK_SOURCE_DIR) + "/data/fashion-mnist";

inline Model shipped_model() {
  WeightsOptions options;
  options.input = {1, 28, 28};
  options.preprocessing = Preprocessing{{0.2860F}, {0.3530F}};
  Import import =
      import_weights(WeightsFile::open(kShippedFolder + "/resnet20_fashion_mnist.safetensors"), options, host_resource());
  import.model.history.clear();
  return import.model;
}

}  // namespace elek::test
