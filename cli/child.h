// SPDX-License-Identifier: Apache-2.0
// Runs another elek and reads its JSON: latency and peak memory of a network are only its own in a process of its own.
// Tests: tests/cli/demo_test.cpp
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"

namespace elek::cli {

/// This program's file.
[[nodiscard]] std::string own_path();

/// Runs this program with `arguments` and parses its standard output as JSON; its standard error is ours. Interrupted if the
/// child was; ContractError with its exit code if it failed otherwise.
[[nodiscard]] Json run_child(const std::vector<std::string>& arguments);

}  // namespace elek::cli
