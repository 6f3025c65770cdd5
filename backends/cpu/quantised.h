// SPDX-License-Identifier: Apache-2.0
// What Precision::kInt8 means for the CPU: which values lie in memory as integers. Rounding a value and storing it as an
// integer are two things: graph/integer_values.h says what is rounded; here, what is also stored so. Tests:
// tests/golden/int8_test.cpp
#pragma once

#include <map>

#include "elek/options.h"
#include "graph/integer_values.h"

namespace elek::backends::cpu {

struct QuantisedValues {
  std::map<ValueId, IntegerGrid> rounded;  // where they are made
  std::map<ValueId, IntegerGrid> stored;   // of those, the ones that every reader takes as integers
};

/// Empty unless the precision is kInt8. UsageError if it is and the model is not quantised, or if the raw convolution is to be
/// watched, which the integer kernels do not store.
[[nodiscard]] QuantisedValues quantised_values(const Model& model, const FusedGraph& fused, const LowerOptions& options);

[[nodiscard]] inline DType type_of(const IntegerGrid& grid) { return grid.is_signed ? DType::kI8 : DType::kU8; }

}  // namespace elek::backends::cpu
