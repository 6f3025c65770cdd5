// SPDX-License-Identifier: Apache-2.0
// Shared by commands that measure times: the options --seconds and --kernels, and the number of threads.
// Tests: tests/cli/profile_test.cpp, tests/cli/flow_test.cpp
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/output.h"
#include "elek/session.h"
#include "plan/program.h"

namespace elek::cli {

/// The number of threads that --threads N means: 0 is as many as the machine or the environment gives.
[[nodiscard]] int used_threads(int asked);

/// For --seconds: 0 to 3600, and no NaN, with which a measurement would never end.
[[nodiscard]] CLI::Validator seconds_range();

/// Adds --kernels rule|measured; `kernels` holds its default.
void add_kernels(CLI::App& command, std::string& kernels);
/// Converts the value of --kernels.
[[nodiscard]] KernelChoice kernel_choice(const std::string& kernels);
/// Prints in one line which convolutions use a kernel because of measured times and not by the rule, if any.
void note_kernels(const Output& output, const Program& program);

}  // namespace elek::cli
