// SPDX-License-Identifier: Apache-2.0
// What the course (docs/course/) asks of elek memory: the fixed profile --teaching, and --check. Tests:
// tests/cli/trace_test.cpp
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"
#include "engine/estimate.h"

namespace elek::cli {

/// The options of the teaching profile: two threads, and the whole batch passes through the steps at once unless a micro-batch
/// is set.
void set_teaching(SessionOptions& options);
/// The estimate with bytes from the shapes alone and without workspace (lab/course.h): the same on every machine.
[[nodiscard]] SessionEstimate teaching_estimate(const Model& model, const SessionOptions& options);

/// Prints and returns the table of the profile.
[[nodiscard]] Json report_teaching(const Output& output, const std::string& name, const SessionEstimate& session);

/// Judges an answer to an exercise. A wrong one is an InputError with a hint, so that a script sees it (exit code 3).
[[nodiscard]] Json check_exercise(const Output& output, const std::vector<std::string>& words);

}  // namespace elek::cli
