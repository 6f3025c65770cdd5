// SPDX-License-Identifier: Apache-2.0
// Runs another elek and reads its JSON. Latency and peak memory of one network can only be measured in a process of its own.
// Tests: tests/cli/demo_test.cpp
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"

namespace elek::cli {

/// Path of this program's file.
[[nodiscard]] std::string own_path();

/// Runs this program with `arguments` and parses its standard output as JSON; its standard error goes to ours. Throws
/// Interrupted if the child was interrupted, ContractError with its exit code if it failed otherwise.
[[nodiscard]] Json run_child(const std::vector<std::string>& arguments);

}  // namespace elek::cli
