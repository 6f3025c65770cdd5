// SPDX-License-Identifier: Apache-2.0
// The command line as the user gave it, for reports that say how to make a result again. Tests: tests/cli/report_test.cpp
#pragma once

#include <span>
#include <string>

namespace elek::cli {

/// Called once by main().
void remember_command_line(std::span<char* const> words);
/// The words, quoted for a shell where they need it; the program is "elek". Empty before remember_command_line().
[[nodiscard]] std::string command_line();
/// One word, quoted for a POSIX shell where it needs it.
[[nodiscard]] std::string shell_word(const std::string& word);

}  // namespace elek::cli
