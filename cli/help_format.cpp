// SPDX-License-Identifier: Apache-2.0
#include "cli/help_format.h"

#include <algorithm>
#include <sstream>

namespace elek::cli {
namespace {

constexpr size_t kTerminalWidth = 80;

}  // namespace

std::string HelpFormat::broken(const std::string& text) const {
  const size_t width = kTerminalWidth - get_column_width();
  std::string lines;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (column > 0) {
      const bool fits = column + 1 + end - begin <= width;
      lines += fits ? ' ' : '\n';
      column = fits ? column + 1 : 0;
    }
    lines.append(text, begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return lines;
}

std::string HelpFormat::make_option_desc(const CLI::Option* option) const { return broken(option->get_description()); }

std::string HelpFormat::make_subcommand(const CLI::App* command) const {
  std::ostringstream out;
  CLI::detail::format_help(out, command->get_display_name(true), broken(command->get_description()), get_column_width());
  return out.str();
}

}  // namespace elek::cli
