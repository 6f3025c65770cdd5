// SPDX-License-Identifier: Apache-2.0
// docs/memory.md shows what its commands print. Every indented `elek …` line is run, and each line of the indented block under
// it must be in the output. A block may show a part of the output. A shown line that ends in " \" goes on in the next one.
// Times are skipped, because they depend on the machine; so is what malloc keeps. Sizes in the text must be printed by some
// command, or follow from a shape beside them.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cmath>
#include <regex>
#include <sstream>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

struct Shown {
  std::string command;
  std::vector<std::string> lines;  // what the document shows under it, indentation gone
};

struct Lesson {
  std::vector<Shown> commands;
  std::string text;  // the rest
};

/// Appends a shown line, or joins it to the last one if that ends in " \".
void add_shown(std::vector<std::string>& lines, const std::string& line) {
  if (lines.empty() || !lines.back().ends_with(" \\")) {
    lines.push_back(line);
  } else {
    lines.back().pop_back();
    lines.back() += line.substr(std::min(line.size(), line.find_first_not_of(' ')));
  }
}

Lesson read_lesson() {
  std::istringstream file(read_text(std::string(ELEK_SOURCE_DIR) + "/docs/memory.md"));
  Lesson lesson;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("    ")) {
      lesson.text += line + "\n";
    } else if (line.starts_with("    elek ")) {
      lesson.commands.push_back({line.substr(4), {}});
    } else if (!lesson.commands.empty()) {
      add_shown(lesson.commands.back().lines, line.substr(4));
    }
  }
  return lesson;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

std::string run(const std::string& command, const Folder& folder) {
  std::vector<std::string> words = split(command, ' ');
  words.erase(words.begin());
  for (std::string& word : words) {
    if (word.ends_with(".html") || word.ends_with(".safetensors")) word = folder / word;
  }
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << command << "\n" << outcome.err;
  return outcome.out;
}

/// Removes what differs between machines: runs of blanks and dashes, the last column of a table of times, malloc's own row, and
/// the rows of an account with the program's own pages.
std::vector<std::string> comparable(const std::vector<std::string>& lines) {
  static const std::regex blanks("[ -]+");
  std::vector<std::string> made;
  bool timed = false;
  for (const std::string& line : lines) {
    if (line.find("time us") != std::string::npos) timed = true;
    if (line.empty()) timed = false;
    std::string kept = std::regex_replace(line, blanks, " ");
    if (timed && !kept.empty()) kept = kept.substr(0, kept.find_last_of(' '));
    if (timed && kept.starts_with("malloc ")) continue;
    if (kept.starts_with("program, libraries") || kept.starts_with("process, ")) continue;
    if (kept.find_first_not_of(' ') != std::string::npos) made.push_back(kept);
  }
  return made;
}

/// AVX-512 with AMX: the kernels, their workspaces and the order of packed weights depend on both.
bool machine_of_the_lesson() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxTile = 1U << 24U;  // of leaf 7
  return __builtin_cpu_supports("avx512f") != 0 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxTile) != 0;
#else
  return false;
#endif
}

TEST(Lesson, ItsCommandsPrintWhatItShows) {
  const Lesson lesson = read_lesson();
  ASSERT_GT(lesson.commands.size(), 5U);
  const Folder folder;
  for (const Shown& shown : lesson.commands) {
    const std::vector<std::string> printed = comparable(split(run(shown.command, folder), '\n'));
    if (!machine_of_the_lesson()) continue;  // other kernels, other workspaces: the commands must still run
    for (const std::string& line : comparable(shown.lines)) {
      EXPECT_THAT(printed, ::testing::Contains(line)) << shown.command;
    }
  }
}

/// Numbers of a text, each with its digits after the decimal point.
struct Figure {
  double value = 0;
  int digits = 0;
};
std::vector<Figure> figures(const std::string& text, const std::string& unit) {
  static const std::string number = R"((\d[\d,]*)(\.\d+)?)";
  const std::regex wanted(number + unit);
  std::vector<Figure> made;
  for (std::sregex_iterator it(text.begin(), text.end(), wanted), end; it != end; ++it) {
    std::string digits = (*it)[1].str() + (*it)[2].str();
    std::erase(digits, ',');
    made.push_back({std::stod(digits), static_cast<int>(std::max<int64_t>(0, (*it)[2].length() - 1))});
  }
  return made;
}

TEST(Lesson, SizesInTheTextComeFromItsCommandsOrFromShapes) {
  if (!machine_of_the_lesson()) GTEST_SKIP() << "the lesson's workspaces are those of AVX-512 kernels";
  const Lesson lesson = read_lesson();
  const Folder folder;
  std::vector<double> known;  // in MB or in bytes
  for (const Shown& shown : lesson.commands) {
    for (const Figure& f : figures(run(shown.command, folder), "")) {
      known.push_back(f.value);
      known.push_back(f.value / 1e6);  // bytes, told as MB
    }
  }
  const std::string body = lesson.text.substr(0, lesson.text.find("## Exercises"));
  // "256 channels at 56x56: 3.21 MB" must be right; then the text may use the number.
  static const std::regex shapes(R"((\d+)[^\d(]{0,20} at (\d+)x(\d+): (\d+\.\d+) MB)");
  int checked = 0;
  for (std::sregex_iterator it(lesson.text.begin(), lesson.text.end(), shapes), end; it != end; ++it, ++checked) {
    const double megabytes = std::stod((*it)[1]) * std::stod((*it)[2]) * std::stod((*it)[3]) * 4 / 1e6;
    EXPECT_NEAR(megabytes, std::stod((*it)[4]), 0.005) << it->str();
    known.push_back(megabytes);
  }
  EXPECT_GE(checked, 3);
  for (const Figure& f : figures(body, " MB")) {
    const double slack = 0.5 * std::pow(10.0, -f.digits) * (1 + 1e-9);
    const bool found = std::any_of(known.begin(), known.end(), [&](double k) { return std::fabs(k - f.value) <= slack; });
    EXPECT_TRUE(found) << f.value << " MB is in the text and no command prints it";
  }
}

}  // namespace
}  // namespace elek::test
