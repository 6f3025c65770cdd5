// SPDX-License-Identifier: Apache-2.0
// Turns the hints of errors (core/hint.h) into advice in the command's words: which option or command helps. Tests:
// tests/cli/advice_test.cpp
#pragma once

#include <exception>
#include <string>

namespace elek::cli {

/// The error's message, followed by advice if it has a hint.
[[nodiscard]] std::string message_with_advice(const std::exception& error);

}  // namespace elek::cli
