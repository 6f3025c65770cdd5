// SPDX-License-Identifier: Apache-2.0
// A second Ctrl-C or SIGTERM ends every command at once, whatever it is doing. A mapped file that somebody truncates is an
// error.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/command.h"

namespace elek {
namespace {

namespace fs = std::filesystem;
using test::elek_command;
using test::Folder;
using test::How;
using test::Outcome;
using ::testing::HasSubstr;

/// Each command is one that takes minutes, most of them in the part that its name says.
std::vector<std::pair<std::string, std::vector<std::string>>> long_commands(const Folder& folder) {
  const std::string model = tiny_model(folder), out = folder / "out.safetensors";
  const std::vector<std::string> data = {"--calibrate", "synthetic:20000:1", "--evaluate", "synthetic:50:2"};
  const auto of = [&](std::vector<std::string> words, const std::vector<std::string>& more = {}) {
    words.insert(words.begin() + 1, {"--model", model});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  return {
      {"distillation",
       of({"coverage", "--metric", "magnitude", "--repair", "distill", "--distill-passes", "100000", "--out", out}, data)},
      {"refit", of({"coverage", "--metric", "magnitude", "--repair", "refit", "--out", out}, data)},
      {"metric refit", of({"coverage", "--metric", "refit", "--repair", "none", "--out", out}, data)},
      {"sweep", of({"sweep", "--metric", "refit", "--csv", folder / "out.csv"}, data)},
      {"collection", of({"coverage", "--calibrate", "synthetic:10000000:1", "--max-batches", "0", "--save-statistics", out})},
      {"evaluation", of({"eval", "--data", "synthetic:10000000"})},
      {"run", of({"run", "--data", "synthetic:10000000", "--out", out})},
      {"bench", of({"bench", "--batch", "512", "--seconds", "600"})},
      {"prepare", {"prepare", "--arch", "resnet18", "--classes", "2000000", "--random", "1", "--out", out}},
  };
}

TEST(InterruptTwice, EndsEveryCommandAtOnce) {
  const Folder folder;
  for (const auto& [name, words] : long_commands(folder)) {
    for (const int signal : {SIGINT, SIGTERM}) {
      How how;
      how.interrupt_signal = signal;
      how.interrupt_again = true;
      how.interrupt_when = [start = std::chrono::steady_clock::now()] {
        return std::chrono::steady_clock::now() - start > std::chrono::milliseconds(700);
      };
      const Outcome outcome = elek_command(words, how);
      EXPECT_EQ(outcome.exit_code, 130) << name << ": " << outcome.err;
      EXPECT_LT(outcome.seconds_after_interrupt, 5) << name << ": a crowded machine may need a second";
    }
  }
}

/// Whether a process has this file in its memory map.
bool has_mapped(int pid, const std::string& path) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(path)) return true;
  }
  return false;
}

/// The page that is read next is gone. A fast machine may have read all of them; that must not happen every time.
TEST(LostPage, AMappedFileThatIsTruncatedIsNamed) {
  const Folder folder;
  const std::string model = folder / "net.safetensors", copy = folder / "copy.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "resnet50", "--random", "1", "--out", model, "--quiet"}).exit_code, 0);
  for (int attempt = 0; attempt < 20; ++attempt) {
    fs::copy_file(model, copy, fs::copy_options::overwrite_existing);
    bool truncated = false;
    How how;
    how.meanwhile = [&](int pid) {
      if (truncated || !has_mapped(pid, copy)) return;
      fs::resize_file(copy, 0);
      truncated = true;
    };
    const Outcome outcome = elek_command({"convert", "--model", copy, "--out", folder / "out.onnx", "--quiet"}, how);
    if (outcome.exit_code == 0) continue;
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("copy.safetensors: ")) << outcome.err;
    if (outcome.err.find("became shorter") != std::string::npos) return;  // else it was found when the file was opened
  }
  FAIL() << "the file was never truncated while it was read";
}

}  // namespace
}  // namespace elek
