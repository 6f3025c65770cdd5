// SPDX-License-Identifier: Apache-2.0
// The command's words for the hints of errors (core/hint.h): which option or command helps. Tests: tests/cli/advice_test.cpp
#pragma once

#include <exception>
#include <string>

namespace elek::cli {

/// The error's message, and what to do about it where it has a hint.
[[nodiscard]] std::string message_with_advice(const std::exception& error);

}  // namespace elek::cli
