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

void NodeInputs::check_range(std::string_view attribute, const Extent& value, IntRange range) const {
  for (const int64_t each : {value.height, value.width}) check_range(attribute, each, range);
}

void NodeInputs::check_range(std::string_view attribute, const Padding& value, IntRange range) const {
  for (const int64_t each : {value.top, value.left, value.bottom, value.right}) check_range(attribute, each, range);
}

ImageShape NodeInputs::slide(int64_t channels, const Window& window, Rounding rounding) const {
  ImageShape made = window.slide(shapes_[0], rounding);
  made.channels = channels;
  const bool dilated = window.dilation != Extent(1);
  ELEK_CHECK(made.height > 0 && made.width > 0,
             who() + "kernel " + to_string(window.kernel) + (dilated ? " with dilation " + to_string(window.dilation) : "") +
                 " does not fit into input " + to_string(shapes_[0]) + " with padding " + to_string(window.padding));
  return made;
}

}  // namespace elek
