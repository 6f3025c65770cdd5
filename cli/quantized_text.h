// SPDX-License-Identifier: Apache-2.0
// A report of quantize() as text. Tests: tests/cli/quantize_test.cpp
#pragma once

#include <string>

#include "elek/quantize.h"

namespace elek::cli {

/// How many layers compute in int8, then a line for each that does not, with the reason.
[[nodiscard]] std::string quantized_text(const QuantizeReport& report);

}  // namespace elek::cli
