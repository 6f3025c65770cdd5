// SPDX-License-Identifier: Apache-2.0
// The exercises of docs/course/, and their checkers. An expected answer is computed from the exercise's own trace or network;
// none is stored. Tests: tests/unit/trace_test.cpp, tests/cli/trace_test.cpp
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lab/replay.h"

namespace elek {

/// What the exercises ask of the teaching network: the trace for a batch that passes through the steps as a whole.
using TeachingTrace = std::function<Trace(int64_t batch)>;

struct Judgement {
  bool right = false;
  std::string words;  // what was found; if it is wrong, a hint that does not give the answer away
};
/// "1.1", "1.2", … "6.3".
[[nodiscard]] std::vector<std::string> exercises();
/// The answer is a number, a word, or the name of a file, as the exercise says. UsageError: no such exercise, an answer of
/// another kind. InputError: a file that cannot be read.
[[nodiscard]] Judgement check_answer(const std::string& exercise, const std::string& answer, const TeachingTrace& network);

/// The trace of the teaching profile: bytes from the shapes alone (4 for each value), no workspace. So it depends neither on
/// the processor nor on threads.
[[nodiscard]] Program teaching_program(Program program);

}  // namespace elek
