// SPDX-License-Identifier: Apache-2.0
// Declares elek watch (see cli/commands.h for the others). Tests: tests/cli/trace_test.cpp
#pragma once

#include "cli/commands.h"

namespace elek::cli {

void add_watch(CLI::App& app, Run& run);

}  // namespace elek::cli
