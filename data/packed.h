// SPDX-License-Identifier: Apache-2.0
// Samples of one size, one after another in memory. The IDX reader and the CIFAR reader make them.
// Tests: tests/data/idx_test.cpp, tests/data/cifar_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "elek/data.h"

namespace elek {

struct PackedSamples {
  struct Part {
    std::string file;
    int64_t first = 0;  // index of its first sample
  };
  std::vector<uint8_t> bytes;  // [offset + count*height*width*channels], channels last
  size_t offset = 0;           // where the first sample begins
  int64_t count = 0;
  ImageShape shape;
  std::vector<uint8_t> labels;  // [count]
  int64_t classes = 0;
  std::vector<std::string> class_names;  // [classes] or empty
  std::vector<Part> parts;               // ascending, the first at 0
};
[[nodiscard]] std::shared_ptr<const Dataset> make_packed(PackedSamples samples);

}  // namespace elek
