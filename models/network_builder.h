// SPDX-License-Identifier: Apache-2.0
// From a structure and a reading to a graph. A *reading* is what the tensors of a file do not show: strides, pooling, option
// A's zeros, epsilon. The graph has the names of torchvision and timm, whatever the file called its layers. For each parameter
// the builder says which tensors of the file it is made of; it reads no values itself. Internal to models/. Tests:
// tests/models/import_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "models/structure.h"

namespace elek::detail {

struct Reading {
  ImageShape input;
  int64_t stem_stride = 1;       // of the stem's first convolution
  bool max_pool = false;         // 3x3 with stride 2, behind the stem
  bool zeros_behind = false;     // option A: all new channels behind the old ones; else half on each side
  bool stride_on_first = false;  // of a bottleneck: on the 1x1 instead of the 3x3
  std::vector<int64_t> strides;  // of the first block of each stage
  double epsilon = 1e-5;         // of all batch norms
};

/// How the values of a parameter come from the file: from - minus, or `fill` everywhere if the file has no tensor for it.
struct Values {
  Source from;
  Source minus;  // a convolution's bias, which moves the mean of the batch norm behind it
  float fill = 0;
  std::string scales{};  // the tensor of a quantised weight's scales, one a row; `from` then holds 8-bit integers
};

struct Network {
  Graph graph;
  std::map<std::string, Values> values;  // one for each required parameter
};

/// InputError if the shapes make no network, or need an operator that elek does not have. `where` names the file.
[[nodiscard]] Network build_network(const Structure& structure, const Reading& reading, const std::string& where);

/// "resnet50", "cifar_resnet20", "seresnet18d", …, for people: by depth, stem and shortcuts.
[[nodiscard]] std::string architecture_name(const Structure& structure);

}  // namespace elek::detail
