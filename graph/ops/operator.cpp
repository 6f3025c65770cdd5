// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/graph_test.cpp
#include "elek/ops/operator.h"

#include <cmath>

#include "core/error.h"

namespace elek {

bool fits(RealRange which, double value) { return std::isfinite(value) && (which == RealRange::kFinite || value > 0); }

std::string_view text_of(RealRange which) { return which == RealRange::kFinite ? "finite" : "positive and finite"; }

std::string NodeInputs::who() const { return std::string(op_) + " '" + name_ + "': "; }

void NodeInputs::check_range(std::string_view attribute, int64_t value, IntRange range) const {
  ELEK_CHECK(value >= range.low && value <= range.high, who() + std::string(attribute) + " expected in [" +
                                                            std::to_string(range.low) + ", " + std::to_string(range.high) +
                                                            "], got " + std::to_string(value));
}

void NodeInputs::check_range(std::string_view attribute, double value, RealRange which) const {
  ELEK_CHECK(fits(which, value),
             who() + std::string(attribute) + " expected " + std::string(text_of(which)) + ", got " + std::to_string(value));
}

ImageShape NodeInputs::slide(int64_t channels, OpWindow window, int64_t padding) const {
  const auto positions = [&](int64_t size) {
    ELEK_CHECK(size + 2 * padding >= window.kernel, who() + "kernel " + std::to_string(window.kernel) +
                                                        " does not fit into input " + to_string(shapes_[0]) + " with padding " +
                                                        std::to_string(padding));
    return (size + 2 * padding - window.kernel) / window.stride + 1;
  };
  return {channels, positions(shapes_[0].height), positions(shapes_[0].width)};
}

}  // namespace elek
