// SPDX-License-Identifier: Apache-2.0
// A distillation's report as a line of text and as JSON. Tests: tests/cli/tune_test.cpp
#pragma once

#include <string>

#include "cli/output.h"
#include "elek/train.h"

namespace elek::cli {

/// What the distillation gained, or why it did nothing.
[[nodiscard]] std::string distillation_text(const DistillReport& report);
[[nodiscard]] Json distillation_json(const DistillReport& report);

}  // namespace elek::cli
