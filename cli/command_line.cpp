// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace elek::cli {
namespace {

std::string& remembered() {
  static std::string line;
  return line;
}

}  // namespace

std::string shell_word(const std::string& word) {
  constexpr std::string_view kPlain = "_-+=./:,@%^";
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kPlain.find(c) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void remember_command_line(std::span<char* const> words) {
  std::string line = "elek";
  for (size_t i = 1; i < words.size(); ++i) line += " " + shell_word(words[i]);
  remembered() = line;
}

std::string command_line() { return remembered(); }

}  // namespace elek::cli
