// SPDX-License-Identifier: Apache-2.0
// elek prepare with an ONNX file: what it says, what the options overrule, and that elek's own files come back.
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/onnx/" + name + ".onnx"; }

TEST(PrepareOnnx, TakesTheNetworkFromTheFile) {
  const Folder folder;
  const std::string out = folder / "net.safetensors";
  const Outcome made = elek_command({"prepare", "--weights", fixture("mobile"), "--out", out});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("are assumed"));
  EXPECT_THAT(made.out, HasSubstr("mobile, input 3x8x8"));
  const Outcome run = elek_command({"eval", "--model", out, "--data", "synthetic:4:1"});
  EXPECT_NE(run.exit_code, 1) << run.err;  // the classes of the data are others: exit code 3
  const Outcome known = elek_command({"prepare", "--weights", fixture("mobile"), "--arch", "resnet18", "--mean", "0.5,0.5,0.5",
                                      "--std", "0.25,0.25,0.25", "--out", out});
  EXPECT_EQ(known.exit_code, 0) << known.err;
  EXPECT_THAT(known.err, AllOf(HasSubstr("--arch is not used"), Not(HasSubstr("assumed"))));
}

TEST(PrepareOnnx, OptionsThatContradictTheFile) {
  const Folder folder;
  const auto prepare = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"prepare", "--weights", fixture("residual"), "--out", folder / "net.safetensors"};
    words.insert(words.end(), more.begin(), more.end());
    return elek_command(words);
  };
  EXPECT_EQ(prepare({"--classes", "4"}).exit_code, 2);
  EXPECT_EQ(prepare({"--mean", "0.5", "--std", "0.5"}).exit_code, 2);
  EXPECT_EQ(prepare({"--mean", "0,0,0", "--std", "1,0,1"}).exit_code, 2);
  const Outcome size = prepare({"--input", "3,9,9"});
  EXPECT_EQ(size.exit_code, 3);
  EXPECT_THAT(size.err, HasSubstr("3x8x8"));
  EXPECT_EQ(prepare({"--classes", "3", "--input", "3,8,8"}).exit_code, 0);
}

/// Dense, pruned, repaired and masked networks go out as ONNX and come back as the same network.
TEST(PrepareOnnx, ElekItselfGivesTheSameLogitsBitForBit) {
  const Folder folder;
  const std::string dense = tiny_model(folder);
  std::vector<std::string> models{dense};
  for (const auto& [name, command] : {std::pair<std::string, std::vector<std::string>>{
                                          "pruned", {"coverage", "--channels", "0.4", "--round-to", "1", "--repair", "none"}},
                                      {"repaired", {"coverage", "--channels", "0.4", "--round-to", "1", "--repair", "refit"}},
                                      {"masked", {"wanda", "--sparsity", "0.5"}}}) {
    std::vector<std::string> words = command;
    models.push_back(folder / (name + ".safetensors"));
    words.insert(words.end(),
                 {"--model", dense, "--calibrate", "synthetic:16:1", "--evaluate", "synthetic:4:2", "--out", models.back()});
    const Outcome made = elek_command(words);
    ASSERT_EQ(made.exit_code, 0) << name << ": " << made.err;
  }
  const auto logits = [&](const std::string& of) {
    const Outcome run = elek_command(
        {"run", "--model", of, "--data", "synthetic:3:1", "--out", folder / "logits.safetensors", "--threads", "1"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return read_text(folder / "logits.safetensors");
  };
  const std::string onnx = folder / "net.onnx", back = folder / "back.safetensors";
  for (const std::string& model : models) {
    SCOPED_TRACE(model);
    ASSERT_EQ(elek_command({"convert", "--model", model, "--out", onnx}).exit_code, 0);
    const Outcome made = elek_command({"prepare", "--weights", onnx, "--out", back});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(made.err, Not(HasSubstr("assumed")));
    EXPECT_EQ(logits(back), logits(model));
    if (model != dense) {
      EXPECT_NE(logits(model), logits(dense));
    }
  }
}

}  // namespace
}  // namespace elek::test
