// SPDX-License-Identifier: Apache-2.0
// Layers of ResNet-18 and ResNet-50 at 224x224, one of each kind, and pruned forms of them.
// tests/kernels/resnet_layers_test.cpp compares them with the direct convolution, and bench/kernels_bench.cpp times them.
#pragma once

#include <array>
#include <cstdint>

namespace elek::kernels::cpu {

struct Layer {
  const char* name;
  int64_t channels, out_channels, size, kernel, stride, padding;
};

inline constexpr std::array kResNetLayers = {
    Layer{"stem", 3, 64, 224, 7, 2, 3},
    Layer{"layer1.3x3", 64, 64, 56, 3, 1, 1},
    Layer{"layer2.3x3", 128, 128, 28, 3, 1, 1},
    Layer{"layer3.3x3", 256, 256, 14, 3, 1, 1},
    Layer{"layer4.3x3", 512, 512, 7, 3, 1, 1},
    Layer{"layer2.3x3.stride2", 128, 128, 56, 3, 2, 1},
    Layer{"layer1.1x1.reduce", 256, 64, 56, 1, 1, 0},
    Layer{"layer1.1x1.expand", 64, 256, 56, 1, 1, 0},
    Layer{"layer3.1x1.reduce", 1024, 256, 14, 1, 1, 0},
    Layer{"layer4.1x1.expand", 512, 2048, 7, 1, 1, 0},
    Layer{"layer3.1x1.shortcut", 512, 1024, 28, 1, 2, 0},
    Layer{"layer2.3x3.pruned", 88, 88, 28, 3, 1, 1},
    Layer{"layer3.3x3.odd", 179, 179, 14, 3, 1, 1},
    Layer{"layer3.1x1.odd", 717, 179, 14, 1, 1, 0},
};

}  // namespace elek::kernels::cpu
