// SPDX-License-Identifier: Apache-2.0
// elek manual: every command and option that --help lists is in the man page and in the completions; man and the shells accept
// them, where they are installed.
#include <cstdlib>
#include <sstream>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

std::string manual(const std::string& what) {
  const Outcome outcome = elek_command({"manual", what});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.out;
}

/// First words of the lines between `from` and `to` of a help text that are indented by two spaces.
std::vector<std::string> listed(const std::string& help, const std::string& from) {
  std::istringstream in(help.substr(help.find(from)));
  std::vector<std::string> words;
  for (std::string line; std::getline(in, line) && !line.starts_with("Examples:");) {
    if (!line.starts_with("  ") || line.starts_with("   ")) continue;
    std::istringstream first(line);
    words.emplace_back();
    first >> words.back();
  }
  return words;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

TEST(Manual, HoldsEveryCommandAndOptionOfTheHelp) {
  const std::string man = manual("man"), bash = manual("bash"), zsh = manual("zsh"), fish = manual("fish");
  const std::vector<std::string> commands = listed(elek_command({"--help"}).out, "Subcommands:");
  ASSERT_GE(commands.size(), 15U);
  for (const std::string& command : commands) {
    EXPECT_THAT(man, HasSubstr(".TP\n.B " + command + "\n"));
    EXPECT_THAT(bash, HasSubstr("    " + command + ")\n"));
    EXPECT_THAT(fish, HasSubstr("-f -a " + command + " -d "));
    const std::string help = elek_command({command, "--help"}).out;
    size_t options = 0;
    for (const std::string& names : listed(help, "Options:")) {
      const size_t at = names.find("--");
      if (at == std::string::npos) continue;
      const std::string name = names.substr(at);
      ++options;
      EXPECT_THAT(man, HasSubstr(replaced(name, "-", "\\-")));
      EXPECT_THAT(bash, HasSubstr(name)) << command;
      EXPECT_THAT(fish, HasSubstr("_from " + command + "' -l " + name.substr(2))) << command;
    }
    EXPECT_GE(options, 1U) << command;
  }
  EXPECT_THAT(zsh, HasSubstr("#compdef elek\n"));
  EXPECT_THAT(zsh, HasSubstr(bash));
}

TEST(Manual, BashCompletesCommandsOptionsAndValues) {
  const Folder folder;
  write_text(folder / "elek.bash", manual("bash"));
  write_text(folder / "try.bash",
             "source " + folder / "elek.bash" +
                 "\ncomplete_words() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _elek; echo \"${COMPREPLY[*]}\"; }\n"
                 "complete_words elek cov\ncomplete_words elek bench --micro\ncomplete_words elek bench --kernels m\n");
  ASSERT_EQ(std::system(("bash " + folder / "try.bash" + " > " + folder / "out").c_str()), 0);
  EXPECT_EQ(read_text(folder / "out"), "coverage\n--micro-batch\nmeasured\n");
}

TEST(Manual, TheManPageHasNoWarnings) {
  if (std::system("command -v groff >/dev/null") != 0) GTEST_SKIP() << "groff is not installed";
  const Folder folder;
  write_text(folder / "elek.1", manual("man"));
  ASSERT_EQ(
      std::system(("groff -man -ww -Tutf8 " + folder / "elek.1" + " > " + folder / "out 2> " + folder / "warnings").c_str()),
      0);
  EXPECT_EQ(read_text(folder / "warnings"), "");
}

TEST(Manual, RefusesAnUnknownKind) {
  const Outcome outcome = elek_command({"manual", "html"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("WHAT"));
}

}  // namespace
}  // namespace elek::test
