// SPDX-License-Identifier: Apache-2.0
// elek manual: the man page and the completions for shells, made from the same commands and options that the parser and --help
// use, so that none of them can lag behind. Packages install what it prints.
// Tests: tests/cli/manual_test.cpp
#include <algorithm>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace elek::cli {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_name().empty(); });
}

/// Options that have a name, --help included.
std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* option) { return option->nonpositional(); });
}

/// "{rule,measured}" in an option's type lists its values.
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  std::istringstream in(type.substr(open + 1, close - open - 1));
  std::vector<std::string> values;
  for (std::string value; std::getline(in, value, ',');) values.push_back(value);
  return values;
}

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// --- man page ---

/// Text for roff: a backslash and a hyphen have a meaning, and so has a dot or an apostrophe at the beginning of a line.
std::string roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_begins = c == '\n';
  }
  return out;
}

std::string verbatim(const std::string& text) { return ".nf\n" + roff(text) + "\n.fi\n"; }

void man_option(std::ostream& out, const CLI::Option& option) {
  out << ".TP\n.B " << roff(option.get_name(false, true));
  if (option.get_type_size() != 0) out << " \\fI" << roff(option.get_type_name()) << "\\fR";
  if (!option.get_default_str().empty()) out << " (default " << roff(option.get_default_str()) << ")";
  if (option.get_required()) out << " (required)";
  out << '\n' << roff(option.get_description()) << '\n';
}

void man_page(std::ostream& out, const CLI::App& app) {
  out << ".\\\" Made by `elek manual man`.\n.TH ELEK 1 \"\" \"elek " << ELEK_VERSION << "\" \"User Commands\"\n"
      << ".SH NAME\nelek \\- prune and run convolutional networks\n.SH SYNOPSIS\n.B elek\n.I COMMAND\n[\\fIOPTIONS\\fR]\n"
      << ".SH DESCRIPTION\n"
      << roff(app.get_description()) << "\n.SH COMMANDS\n";
  for (const CLI::App* command : commands_of(app)) {
    out << ".TP\n.B " << roff(command->get_name()) << '\n' << roff(command->get_description()) << '\n';
  }
  for (const CLI::App* command : commands_of(app)) {
    std::string title = command->get_name();
    std::transform(title.begin(), title.end(), title.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    out << ".SH ELEK " << roff(title) << '\n' << roff(command->get_description()) << ".\n";
    for (const CLI::Option* option : command->get_options([](const CLI::Option* o) { return o->get_positional(); })) {
      out << ".TP\n.I " << roff(option->get_name(true)) << '\n' << roff(option->get_description()) << '\n';
    }
    for (const CLI::Option* option : options_of(*command)) man_option(out, *option);
    if (!command->get_footer().empty()) out << ".PP\n" << verbatim(command->get_footer());
  }
  out << ".SH NOTES\n" << verbatim(app.get_footer());
}

// --- completions ---

std::string option_words(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::Option* option : options_of(command)) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  return joined(words, " ");
}

/// Files are completed where nothing else is known.
void bash(std::ostream& out, const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  out << "# Made by `elek manual bash`.\n_elek() {\n"
      << "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n  COMPREPLY=()\n"
      << "  if ((COMP_CWORD == 1)); then\n    COMPREPLY=($(compgen -W \"" << joined(names, " ")
      << " --help --version\" -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n";
  for (const CLI::App* command : commands_of(app)) {
    out << "    " << command->get_name() << ")\n      case $before in\n";
    for (const CLI::Option* option : options_of(*command)) {
      const std::vector<std::string> values = values_of(*option);
      if (values.empty() || option->get_lnames().empty()) continue;
      out << "        --" << option->get_lnames().front() << ") COMPREPLY=($(compgen -W \"" << joined(values, " ")
          << "\" -- \"$word\")); return ;;\n";
    }
    out << "      esac\n      words=\"" << option_words(*command) << "\" ;;\n";
  }
  out << "  esac\n  [[ $word == -* ]] && COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _elek "
         "elek\n";
}

void zsh(std::ostream& out, const CLI::App& app) {
  out << "#compdef elek\nautoload -U +X bashcompinit && bashcompinit\n";
  bash(out, app);
}

/// A word in single quotes.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

void fish(std::ostream& out, const CLI::App& app) {
  out << "# Made by `elek manual fish`.\n";
  for (const CLI::App* command : commands_of(app)) {
    out << "complete -c elek -n __fish_use_subcommand -f -a " << command->get_name() << " -d "
        << quoted(command->get_description()) << '\n';
    for (const CLI::Option* option : options_of(*command)) {
      for (const std::string& name : option->get_lnames()) {
        out << "complete -c elek -n '__fish_seen_subcommand_from " << command->get_name() << "' -l " << name;
        if (option->get_type_size() != 0) out << " -r";
        if (const auto values = values_of(*option); !values.empty()) out << " -f -a " << quoted(joined(values, " "));
        out << " -d " << quoted(option->get_description()) << '\n';
      }
    }
  }
}

}  // namespace

void add_manual(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("manual", "Print the man page, or completions for a shell");
  auto what = std::make_shared<std::string>();
  command->add_option("WHAT", *what, "man, bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"man", "bash", "zsh", "fish"}));
  command->footer(
      "Examples:\n"
      "  elek manual man > ~/.local/share/man/man1/elek.1\n"
      "  elek manual bash > ~/.local/share/bash-completion/completions/elek");
  command->callback([&app, &run, what] {
    run = [&app, what] {
      if (*what == "man") return man_page(std::cout, app);
      if (*what == "bash") return bash(std::cout, app);
      if (*what == "zsh") return zsh(std::cout, app);
      fish(std::cout, app);
    };
  });
}

}  // namespace elek::cli
