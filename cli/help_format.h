// SPDX-License-Identifier: Apache-2.0
// The layout of help texts: CLI11's, with descriptions broken at spaces, so that they can be read in a terminal of 80 columns.
// Changes no text. Tests: tests/cli/usage_test.cpp
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace elek::cli {

class HelpFormat final : public CLI::Formatter {
 public:
  [[nodiscard]] std::string make_option_desc(const CLI::Option* option) const override;
  [[nodiscard]] std::string make_subcommand(const CLI::App* command) const override;

 private:
  /// Lines that fit between CLI11's column of names and the right edge. A longer word is not broken.
  [[nodiscard]] std::string broken(const std::string& text) const;
};

}  // namespace elek::cli
