// SPDX-License-Identifier: Apache-2.0
// The command's help, and its answer to an impossible command line: exit code 2 and a message.
#include <sstream>

#include "elek/session.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Help, EveryCommandShowsItsOptionsAndExamples) {
  for (const std::string command :
       {"prepare", "eval", "run", "coverage", "wanda", "merge", "convert", "info", "bench", "profile", "demo"}) {
    const Outcome help = elek_command({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr("Examples:")) << command;
    EXPECT_THAT(help.out, HasSubstr("elek " + command)) << command;
    for (const char* option : {"--device", "--threads", "--memory-limit", "--json", "--quiet", "--seed"}) {
      EXPECT_THAT(help.out, HasSubstr(option)) << command;
    }
  }
}

TEST(Help, DescriptionsFitIntoAnEightyColumnTerminal) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"coverage", " relu: its stored value, which the next layer reads; conv: the raw convolution"},
      {"sweep", " random: mean and spread of --draws; all: every criterion"},
      {"profile", " rule: by shape; measured: the fastest on this machine (times are kept on disk)"}};
  for (const auto& [command, words] : cases) {
    const Outcome help = elek_command({command, "--help"});
    std::istringstream lines(help.out.substr(0, help.out.find("Examples:")));
    std::string text;  // the descriptions, joined again
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(std::string(30, ' '))) continue;
      EXPECT_LE(line.size(), 80U) << line;
      text += line.substr(29);
    }
    EXPECT_THAT(text, HasSubstr(words)) << command;
  }
}

TEST(Help, NamesEveryCommandAndTheExitCodes) {
  const Outcome help = elek_command({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("coverage"));
  EXPECT_THAT(help.out, HasSubstr("130 interrupted"));
  EXPECT_EQ(elek_command({"--version"}).exit_code, 0);
}

struct Wrong {
  std::vector<std::string> words;
  std::string says;
};

TEST(Usage, WhatCannotBeMeantIsExitCode2) {
  const std::vector<std::string> cut{"coverage",    "--model", "m", "--calibrate", "synthetic:1", "--evaluate",
                                     "synthetic:1", "--out",   "o"};
  const std::vector<std::string> wanda{"wanda",       "--model", "m", "--calibrate", "synthetic:1", "--evaluate",
                                       "synthetic:1", "--out",   "o"};
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<Wrong> cases{
      {{}, "subcommand"},
      {{"prune"}, "prune"},
      {{"eval", "--model", "m"}, "--data"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--color", "red"}, "--color"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--batch", "0"}, "--batch"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--device", "tpu"}, "tpu"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--device", "cuda:x"}, "cuda:x"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--device", "cpu", "--precision", "f16"}, "f32, bf16 and int8 only"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--precision", "f8"}, "f32, tf32, bf16, f16 or int8"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--memory-limit", "0"}, "--memory-limit"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--memory-limit", "-1MB"}, "--memory-limit"},
      {{"eval", "--model", "m", "--data", "synthetic:1", "--memory-limit", "5 parsecs"}, "5 parsecs"},
      {{"prepare", "--arch", "resnet18", "--out", "o"}, "--random"},
      {{"prepare", "--arch", "resnet19", "--random", "1", "--out", "o"}, "resnet19"},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--weights", "w", "--out", "o"}, "excludes"},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--mean", "0.5", "--out", "o"}, "--std"},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--mean", "0.5", "--std", "0.5", "--out", "o"}, "3 channels"},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--input", "3,32", "--out", "o"}, "--input"},
      {{"run", "--model", "m"}, "image files"},
      {{"run", "--model", "m", "--data", "synthetic:1"}, "--out"},
      {{"profile"}, "--model"},
      {{"profile", "--model", "m", "--batch", "0"}, "--batch"},
      {{"profile", "--model", "m", "--statistics", "file"}, "--statistics"},
      {{"profile", "--model", "m", "--seconds", "-1"}, "--seconds"},
      {with(cut, {"--metric", "beauty"}), "beauty"},
      {with(cut, {"--metric", "wanda"}), "elek wanda"},
      {with(cut, {"--repair", "prayer"}), "prayer"},
      {with(cut, {"--tap", "conv"}), "cannot be used with refit"},
      {with(cut, {"--tap", "conv", "--metric", "std-consumer"}), "cannot be used with std-consumer"},
      {with(cut, {"--tap", "water"}), "water"},
      {with(wanda, {"--metric", "wanda-seed"}), "--channels"},
      {{"sweep", "--model", "m", "--calibrate", "synthetic:1", "--evaluate", "synthetic:1", "--round-to", "measured"},
       "the same networks on every machine"},
      {with(cut, {"--round-to", "0"}), "--round-to"},
      {with(cut, {"--scope", "galaxy"}), "galaxy"},
      {with(cut, {"--layer", "layer1"}), "NAME=SHARE"},
      {with(cut, {"--layer", "layer1=1.5"}), "1.5"},
      {with(cut, {"--statistics", "s", "--save-statistics", "t"}), "excludes"},
      {with(wanda, {"--pattern", "4:2"}), "n:m"},
      {with(wanda, {"--pattern", "2:4", "--sparsity", "0.5"}), "excludes"},
      {with(wanda, {"--channels", "0.3", "--compare", "layer"}), "--sparsity"},
      {with(wanda, {"--sparsity", "0.3", "--scope", "global"}), "--channels"},
      {with(cut, {"--macs", "0.5", "--channels", "0.3"}), "excludes"},
      {with(wanda, {"--macs", "0.5", "--sparsity", "0.3"}), "excludes"},
      {with(cut, {"--macs", "1"}), "less than 1"},
      {with(cut, {"--macs", "nan"}), "less than 1"},
      {with(cut, {"--params", "1.5"}), "less than 1"},
      {with(cut, {"--params", "2Q"}), "less than 1"},
      {with(cut, {"--params", "0.5", "--macs", "0.5"}), "excludes"},
      {with(cut, {"--params", "0.5", "--channels", "0.5"}), "excludes"},
  };
  for (const Wrong& wrong : cases) {
    const Outcome outcome = elek_command(wrong.words);
    const std::string line = ::testing::PrintToString(wrong.words);
    EXPECT_EQ(outcome.exit_code, 2) << line << "\n" << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.says)) << line;
    EXPECT_THAT(outcome.out, IsEmpty()) << line;
  }
}

TEST(Usage, ATargetThatRemovesNothingIsRefusedAndWritesNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::vector<std::string> before = folder.files();
  for (const std::vector<std::string>& target : std::vector<std::vector<std::string>>{
           {"coverage", "--channels", "0"}, {"coverage", "--channels", "0.001"}, {"wanda", "--sparsity", "0"}}) {
    std::vector<std::string> words = target;
    for (const char* word : {"--calibrate", "synthetic:8:1", "--evaluate", "synthetic:8:2", "--batch", "4"})
      words.emplace_back(word);
    words.insert(words.end(), {"--model", model, "--out", folder / "out.safetensors"});
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 2) << ::testing::PrintToString(target) << outcome.err;
    EXPECT_EQ(folder.files(), before);
  }
}

TEST(Usage, AShareOutOfRangeIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const char* share : {"1", "-0.1", "nan", "2"}) {
    const Outcome outcome = elek_command({"coverage", "--model", model, "--calibrate", "synthetic:8:1", "--evaluate",
                                          "synthetic:8:2", "--channels", share, "--out", folder / "out.safetensors"});
    EXPECT_EQ(outcome.exit_code, 2) << share << outcome.err;
  }
}

constexpr elek::Device kFirstGpu{DeviceKind::kCuda, 0};

TEST(Device, WhatIsNotThereIsExitCode5WithWhatToDo) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string device : {"cuda", "cuda:0", "cuda:63"}) {
    if (device != "cuda:63" && why_not(kFirstGpu).empty()) continue;
    const Outcome outcome = elek_command({"eval", "--model", model, "--data", "synthetic:4", "--device", device});
    EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(device == "cuda" ? "cuda:0" : device));
    EXPECT_THAT(outcome.err, AnyOf(HasSubstr("use --device cpu"), HasSubstr("nvidia-smi"))) << "what to do";
    if (!built_with(DeviceKind::kCuda)) {
      EXPECT_THAT(outcome.err, HasSubstr("-DELEK_CUDA=ON"));
    }
  }
}

int64_t lines_with(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Device, AutoTakesTheCpuWhereThereIsNoGpuAndSaysWhyInOneLine) {
  if (why_not(kFirstGpu).empty()) GTEST_SKIP() << "there is a GPU here";
  const Folder folder;
  const std::vector<std::string> eval{"eval", "--model", tiny_model(folder), "--data", "synthetic:4:1", "--batch", "2"};
  const std::string note = "elek: --device auto uses the CPU: ";
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> words = eval;
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, built_with(DeviceKind::kCpu) ? 0 : 5) << outcome.err;
    return outcome.err;
  };
  const std::string said = run({"--device", "auto"});
  EXPECT_EQ(lines_with(said, note + why_not(kFirstGpu) + "\n"), 1) << said;
  // If auto was not asked for, a build without GPU support prints nothing.
  EXPECT_EQ(lines_with(run({}), note), built_with(DeviceKind::kCuda) ? 1 : 0);
  EXPECT_EQ(lines_with(run({"--device", "cpu"}), note), 0);
  EXPECT_EQ(lines_with(run({"--quiet"}), note), 0);
}

TEST(Device, AutoWithAPrecisionThatTheCpuLacksIsAUsageError) {
  if (why_not(kFirstGpu).empty()) GTEST_SKIP() << "there is a GPU here";
  const Outcome outcome = elek_command({"eval", "--model", "m", "--data", "synthetic:4", "--precision", "f16"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--device cuda"));
}

/// oneDNN, limited to AVX2, behaves as on a CPU without bf16.
TEST(Device, ACpuWithoutBf16SaysWhatItLacks) {
  if (!built_with(DeviceKind::kCpu)) GTEST_SKIP() << "no CPU backend here";
  ASSERT_EQ(setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1), 0);
  const Outcome outcome =
      elek_command({"eval", "--model", "m", "--data", "synthetic:4", "--device", "cpu", "--precision", "bf16"});
  unsetenv("ONEDNN_MAX_CPU_ISA");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  const std::string why = why_not(Device{}, Precision::kBf16);
  const std::string lacks =
      why.find("no oneDNN") != std::string::npos ? why : "cannot multiply bf16: oneDNN finds neither AVX512_BF16";
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(lacks), HasSubstr("--precision f32")));
}

}  // namespace
}  // namespace elek::test
