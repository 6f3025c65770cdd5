// SPDX-License-Identifier: Apache-2.0
// Only the command gives advice: no text of the library names an option or a command of elek. Hints of the library become
// advice in the command's words.
#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// The string literals of a line of C++, comments left out. A quote in a character literal ('"') is not one of a string.
std::vector<std::string> literals_of(const std::string& line) {
  std::vector<std::string> found;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line.compare(i, 2, "//") == 0) break;
    if (line.compare(i, 3, "'\"'") == 0) i += 2;
    if (line[i] != '"') continue;
    std::string text;
    for (++i; i < line.size() && line[i] != '"'; ++i) {
      if (line[i] == '\\') ++i;
      if (i < line.size()) text += line[i];
    }
    found.push_back(text);
  }
  return found;
}

/// An option or a command of elek. The name alone ("elek reads F32") is not advice.
bool names_an_option(const std::string& literal) {
  static const std::regex kAdvice(
      "(^|[^-])--[a-z]|elek (prepare|eval|run|coverage|wanda|merge|sweep|compare|convert|info|memory|bench|profile|demo)\\b");
  return std::regex_search(literal, kAdvice);
}

std::vector<std::string> advice_in(const fs::path& folder) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".cpp" && extension != ".h" && extension != ".cu" && extension != ".cuh") continue;
    std::ifstream file(entry.path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      for (const std::string& literal : literals_of(line)) {
        if (names_an_option(literal)) found.push_back(entry.path().string() + ":" + std::to_string(number) + ": " + literal);
      }
    }
  }
  return found;
}

TEST(Advice, TheLibraryNamesNoOption) {
  for (const char* folder : {"core", "kernels", "graph", "plan", "backends", "engine", "models", "data", "prune", "lab"}) {
    EXPECT_THAT(advice_in(fs::path(ELEK_SOURCE_DIR) / folder), IsEmpty());
  }
  EXPECT_THAT(advice_in(fs::path(ELEK_SOURCE_DIR) / "cli"), ::testing::Not(IsEmpty()))
      << "the command does, or this sees nothing";
}

TEST(Advice, IsFoundInLiteralsOnly) {
  EXPECT_THAT(literals_of(R"(f("a \"b\"", '"', "c");  // "--d")"), ::testing::ElementsAre("a \"b\"", "c"));
  EXPECT_TRUE(names_an_option("use --device cpu"));
  EXPECT_TRUE(names_an_option("`elek info` lists them"));
  EXPECT_FALSE(names_an_option("elek reads F32; a -- b"));
}

TEST(Advice, ReachesTheUserOfTheCommand) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto said = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--model", model, "--calibrate", "synthetic:4:1", "--batch", "4"});
    const Outcome outcome = elek_command(words);
    EXPECT_NE(outcome.exit_code, 0);
    return outcome.err;
  };
  EXPECT_THAT(said({"coverage", "--why", "nosuch"}),
              HasSubstr("no group or value has the name 'nosuch'; `elek info --groups` lists the names"));
  const std::string sums = folder / "sums", out = folder / "o";
  EXPECT_THAT(said({"wanda", "--sparsity", "0.5", "--ignore", "nosuch", "--evaluate", "synthetic:4:2", "--out", out}),
              HasSubstr("no convolution or linear layer has that name; `elek info` lists them"));
  EXPECT_THAT(said({"coverage", "--statistics", model, "--why", "relu"}), HasSubstr("make one with --save-statistics"));
  EXPECT_THAT(said({"coverage", "--channels", "0", "--metric", "magnitude", "--evaluate", "synthetic:4:2", "--out", out}),
              HasSubstr("removes nothing from " + model + "; choose a larger share, or --round-to 1"));
}

}  // namespace
}  // namespace elek::test
