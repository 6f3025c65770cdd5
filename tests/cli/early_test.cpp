// SPDX-License-Identifier: Apache-2.0
// What cannot be meant is refused before the long work: here the data do not even exist, and that is not what the commands
// complain of.
#include <cstdlib>
#include <filesystem>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kNowhere = "idx:/nowhere/at/all";

struct Wrong {
  std::vector<std::string> words;
  int exit_code;
  std::string says;
};

void expect_early(std::vector<std::string> start, const Wrong& wrong) {
  start.insert(start.end(), wrong.words.begin(), wrong.words.end());
  const Outcome outcome = elek_command(start);
  const std::string line = ::testing::PrintToString(start);
  EXPECT_EQ(outcome.exit_code, wrong.exit_code) << line << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(wrong.says), Not(HasSubstr("/nowhere")))) << line;
  EXPECT_THAT(outcome.out, IsEmpty()) << line;
}

TEST(Early, ACutThatCannotBeMeant) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto start = [&](const char* command) {
    return std::vector<std::string>{command,      "--model", model,   "--calibrate",           kNowhere,
                                    "--evaluate", kNowhere,  "--out", folder / "o.safetensors"};
  };
  for (const Wrong& wrong :
       std::vector<Wrong>{{{"--channels", "1.5"}, 2, "1.5"},
                          {{"--channels", "0"}, 2, "removes nothing"},
                          {{"--channels", "0.001"}, 2, "removes nothing"},
                          {{"--channels", "0.001", "--scope", "global", "--metric", "positions"}, 2, "nothing"},
                          {{"--ignore", "nosuch"}, 2, "nosuch"},
                          {{"--layer", "nosuch=0.5"}, 2, "nosuch"},
                          {{"--layer", "fc=0.5"}, 2, "'fc' cannot be cut"},
                          {{"--layer", "layer1.0=0.5", "--layer", "layer1.0=0.2"}, 2, "given twice"},
                          {{"--round-to", "1000"}, 2, "removes nothing"},
                          {{"--macs", "0.00001"}, 2, "MACs"},
                          {{"--metric", "positions", "--why", "nosuch"}, 2, "nosuch"},
                          {{"--metric", "positions", "--why", "fc"}, 2, "--why: 'fc'"},
                          {{"--metric", "positions", "--statistics", "nothere"}, 3, "nothere"},
                          {{"--metric", "positions", "--statistics", model}, 3, "tiny.safetensors"},
                          {{"--metric", "magnitude", "--save-statistics", "s"}, 2, "uses no sums"},
                          {{"--replay", "nothere"}, 3, "nothere"},
                          {{"--replay", shipped_model(folder)}, 3, "no cut to replay"},
                          {{"--memory-limit", "800kB"}, 4, "the metric refit needs"},
                          {{"--no-repair", "--repair", "refit"}, 2, "--repair"},
                          {{"--keep-activations", "many"}, 2, "many"}}) {
    expect_early(start("coverage"), wrong);
  }
  for (const Wrong& wrong : std::vector<Wrong>{{{"--sparsity", "0"}, 2, "removes nothing"},
                                               {{"--sparsity", "1"}, 2, "sparsity is 1"},
                                               {{"--ignore", "nosuch"}, 2, "nosuch"},
                                               {{"--why", "nosuch"}, 2, "nosuch"},
                                               {{"--channels", "2"}, 2, "2"}}) {
    expect_early(start("wanda"), wrong);
  }
  EXPECT_THAT(folder.files(), ::testing::ElementsAre("shipped.safetensors", "tiny.safetensors"));
}

TEST(Early, ASweepThatCannotBeMeant) {
  const Folder folder;
  const std::vector<std::string> start{"sweep", "--model", tiny_model(folder), "--calibrate", kNowhere, "--evaluate", kNowhere};
  expect_early(start, {{"--channels", "0.3,0.001"}, 2, "removes nothing"});
  expect_early(start, {{"--round-to", "1000"}, 2, "removes nothing"});
  expect_early(start, {{"--ignore", "nosuch"}, 2, "nosuch"});
  expect_early(start, {{"--ignore", "nosuch", "--sensitivity"}, 2, "nosuch"});
  expect_early(start, {{"--memory-limit", "800kB"}, 4, "the metric refit needs"});
}

TEST(Early, OptionsThatContradictOrAreEmpty) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::vector<Wrong> cases{
      {{"memory", "--measure", "--arch", "resnet18"}, 2, "--measure"},
      {{"memory", "--arch", "resnet18", "--map", folder / "map.txt"}, 2, "--map"},
      {{"memory", "--model", model, "--max-batch"}, 2, "--memory-limit"},
      {{"memory", "--model", model, "--max-batch", "--memory-limit", "1GB", "--map", folder / "m.svg"}, 2, "--max-batch"},
      {{"convert", "--model", model, "--precision", "bf16", "--out", folder / "o.onnx"}, 2, "--precision bf16"},
      {{"bench", "--model", model, "--seconds", "nan"}, 2, "seconds from 0 to 3600"},
      {{"profile", "--model", model, "--seconds", "nan"}, 2, "seconds from 0 to 3600"},
      {{"info", "--modle", model}, 2, "does not know '--modle'"},
      {{"coverage", "--model", model, "--channels", "", "--out", "o"}, 2, "after '--channels'"},
      {{"eval", "--model", model, "--data="}, 2, "--data="},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--mean", "nan,0,0", "--std", "1,1,1", "--out", "o"}, 2, "--mean"},
      {{"prepare", "--arch", "resnet18", "--random", "1", "--mean", "0,0,0", "--std", "1,inf,1", "--out", "o"}, 2, "--std"},
      {{"prepare", "--weights", model, "--bn-eps", "nan", "--out", folder / "o.safetensors"}, 2, "--bn-eps"},
  };
  for (const Wrong& wrong : cases) expect_early({}, wrong);
}

TEST(Early, SwappedFilesOfAProfile) {
  const Folder folder;
  const std::string wide = tiny_model(folder), narrow = folder / "narrow.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "6", "--input", "3,16,16", "--random", "1", "--out",
                          narrow, "--quiet"})
                .exit_code,
            0);
  const Outcome swapped = elek_command({"profile", "--model", narrow, "--beside", wide});
  EXPECT_EQ(swapped.exit_code, 2);
  EXPECT_THAT(
      swapped.err,
      HasSubstr("'conv1' has 8 channels in the pruned network and 6 in the dense one; give the dense network as --model"));
}

TEST(Told, AMeanOfTheOtherScale) {
  const Folder folder;
  const Outcome made = elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "8", "--input", "1,16,16", "--random",
                                     "1", "--mean", "72.9", "--std", "90", "--out", folder / "net.safetensors"});
  EXPECT_EQ(made.exit_code, 0);
  EXPECT_THAT(made.err, HasSubstr("divide by 255"));
}

TEST(Told, MoreThreadsThanCores) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Outcome many = elek_command({"eval", "--model", model, "--data", "synthetic:20", "--threads", "1024", "--json"});
  EXPECT_EQ(many.exit_code, 0) << many.err;
  EXPECT_THAT(many.err, HasSubstr("--threads 1024: this process may use"));
  const Outcome one = elek_command({"eval", "--model", model, "--data", "synthetic:20", "--threads", "1", "--json"});
  EXPECT_EQ(one.json().at("loss"), many.json().at("loss"));
  EXPECT_THAT(one.err, Not(HasSubstr("warning")));
}

/// Standard output is one JSON object, whatever oneDNN is asked to print there.
TEST(Told, JsonStaysOneObject) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  ASSERT_EQ(setenv("ONEDNN_VERBOSE", "1", 1), 0);
  const Outcome made = elek_command({"eval", "--model", model, "--data", "synthetic:20", "--json"});
  unsetenv("ONEDNN_VERBOSE");
  EXPECT_TRUE(made.json().contains("top1"));
}

/// What is asked for is saved before anything is printed, so a closed pipe loses nothing.
TEST(Told, AClosedPipeComesAfterTheFile) {
  const Folder folder;
  const std::string out = folder / "net.safetensors", csv = folder / "a.csv";
  const std::string prepare = std::string(ELEK_BINARY) +
                              " prepare --arch cifar_resnet20 --width 8 --input 3,16,16 --random 1 --evaluate synthetic:20 "
                              "--quiet --out " +
                              out + " | true";
  (void)std::system(prepare.c_str());
  ASSERT_TRUE(fs::exists(out));
  const std::string sweep =
      std::string(ELEK_BINARY) + " sweep --model " + out +
      " --calibrate synthetic:20:1 --evaluate synthetic:20:2 --metric magnitude --channels 0.5 --repair none "
      "--quiet --csv " +
      csv + " | true";
  (void)std::system(sweep.c_str());
  EXPECT_TRUE(fs::exists(csv));
  const std::string map = folder / "map.svg";
  const std::string memory = std::string(ELEK_BINARY) + " memory --model " + out + " --map " + map + " | true";
  (void)std::system(memory.c_str());
  EXPECT_TRUE(fs::exists(map));
}

}  // namespace
}  // namespace elek::test
