// SPDX-License-Identifier: Apache-2.0
// Activation functions in double, written as elek/activation.h defines them, and one of each kind to test with.
#pragma once

#include <cmath>
#include <vector>

#include "elek/graph.h"

namespace elek::test {

inline double clipped(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

inline double reference_activation(const elek::Activation& a, double v) {
  switch (a.kind) {
    case elek::Activation::Kind::kNone:
      break;
    case elek::Activation::Kind::kRelu:
      return v < 0 ? 0.0 : v;
    case elek::Activation::Kind::kClip:
      return clipped(v, double{a.low}, double{a.high});
    case elek::Activation::Kind::kLeakyRelu:
      return v < 0 ? double{a.slope} * v : v;
    case elek::Activation::Kind::kSigmoid:
      return 1 / (1 + std::exp(-v));
    case elek::Activation::Kind::kHardSwish:
      return v * clipped(v + 3, 0, 6) / 6;
    case elek::Activation::Kind::kSilu:
      return v / (1 + std::exp(-v));
  }
  return v;
}

/// Every activation operator except ReLU: clips on both sides of 0 and above it, and functions whose value at 0 is not 0.
inline std::vector<Attrs> other_activations() {
  return {ClipAttrs{0, 6}, ClipAttrs{-0.5, 0.75}, ClipAttrs{0.25, 1.5}, LeakyReluAttrs{0.125},
          SigmoidAttrs{},  HardSwishAttrs{},      SiluAttrs{}};
}

}  // namespace elek::test
