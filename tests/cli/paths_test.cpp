// SPDX-License-Identifier: Apache-2.0
// An output that is an input or another output is refused before any work, by every command that writes, and every file stays
// as it was.
#include <filesystem>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// Refused as usage, with both options named, and without a change to the folder.
void expect_kept(const Folder& folder, const std::vector<std::string>& words, const std::vector<std::string>& says) {
  const std::string line = ::testing::PrintToString(words);
  const std::vector<std::string> names = folder.files();
  std::vector<std::string> before;
  for (const std::string& name : names) before.push_back(fs::is_regular_file(folder / name) ? read_text(folder / name) : "");
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 2) << line << outcome.err;
  for (const std::string& text : says) EXPECT_THAT(outcome.err, HasSubstr(text)) << line;
  EXPECT_EQ(folder.files(), names) << line;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!fs::is_regular_file(folder / names[i])) continue;
    EXPECT_EQ(read_text(folder / names[i]), before[i]) << line << ": " << names[i] << " was changed";
  }
}

std::vector<std::string> cut_of(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> words{"coverage", "--model", model, "--calibrate", "synthetic:4:1", "--evaluate", "synthetic:4:2"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Paths, AnOutputIsNeverAnInput) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string copy = folder / "copy.safetensors", labels = folder / "labels.txt", onnx = folder / "tiny.onnx";
  fs::copy_file(model, copy);
  fs::create_hard_link(model, folder / "hard");
  fs::create_symlink(model, folder / "soft");
  write_text(labels, "a\nb\n");
  ASSERT_EQ(elek_command({"convert", "--model", model, "--out", onnx, "--quiet"}).exit_code, 0);
  const std::string same = folder.path() + "/../" + fs::path(folder.path()).filename().string() + "/tiny.safetensors";
  for (const std::string& out : {model, same, folder / "hard", folder / "soft"}) {
    expect_kept(folder, {"run", "--model", model, "--data", "synthetic:4", "--out", out}, {"--out", "--model"});
    expect_kept(folder, cut_of(model, {"--out", out}), {"--out", "--model"});
  }
  expect_kept(folder, cut_of(model, {"--save-statistics", model}), {"--save-statistics", "--model"});
  expect_kept(folder, cut_of(model, {"--statistics", copy, "--metric", "positions", "--out", copy}), {"--out", "--statistics"});
  expect_kept(folder, cut_of(model, {"--replay", copy, "--out", copy}), {"--out", "--replay"});
  for (const char* option : {"--csv", "--images"}) {
    expect_kept(folder,
                {"sweep", "--model", model, "--calibrate", "synthetic:4:1", "--evaluate", "synthetic:4:2", option, model},
                {option, "--model"});
  }
  expect_kept(folder, {"prepare", "--weights", copy, "--out", copy}, {"--out", "--weights"});
  expect_kept(folder, {"prepare", "--arch", "resnet18", "--random", "1", "--labels", labels, "--out", labels},
              {"--out", "--labels"});
  fs::copy_file(model, folder / "model.onnx");
  expect_kept(folder, {"convert", "--model", folder / "model.onnx", "--out", folder / "model.onnx"}, {"--out", "--model"});
  fs::copy_file(model, folder / "model.svg");
  expect_kept(folder, {"memory", "--model", folder / "model.svg", "--map", folder / "model.svg"}, {"--map", "--model"});
  expect_kept(folder, {"merge", copy, model, "--out", copy}, {"--out", "FILES"});
}

TEST(Paths, TwoOutputsAreTwoFiles) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string x = folder / "x.svg";
  expect_kept(folder, cut_of(model, {"--save-statistics", x, "--metric", "positions", "--out", folder.path() + "/./x.svg"}),
              {"--save-statistics", "--out"});
  const std::vector<std::string> sweep{"sweep",         "--model",    model,          "--calibrate",
                                       "synthetic:4:1", "--evaluate", "synthetic:4:2"};
  for (const auto& [one, other] : {std::pair{"--csv", "--images"}, {"--csv", "--plot"}, {"--images", "--plot"}}) {
    std::vector<std::string> words = sweep;
    words.insert(words.end(), {one, x, other, x});
    expect_kept(folder, words, {one, other});
  }
}

/// Parts of an input are files too: shards, external data, and the files of a data set.
TEST(Paths, PartsOfAnInputAreKept) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  write_text(folder / "big.safetensors.index.json", R"({"weight_map": {"fc.weight": "big-1.safetensors"}})");
  write_text(folder / "big-1.safetensors", "weights");
  expect_kept(folder, {"prepare", "--weights", folder / "big.safetensors.index.json", "--out", folder / "big-1.safetensors"},
              {"--out", "a part of --weights"});
  write_text(folder / "net.onnx", "the tensors lie in net.onnx.data");
  write_text(folder / "net.onnx.data", "weights");
  expect_kept(folder, {"prepare", "--weights", folder / "net.onnx", "--out", folder / "net.onnx.data"},
              {"--out", "a part of --weights"});
  fs::create_directories(folder / "photos/cat");
  write_text(folder / "photos/cat/1.png", "photo");
  expect_kept(
      folder,
      {"run", "--model", model, "--data", "images:" + (folder / "photos") + "[0:1]", "--out", folder / "photos/cat/1.png"},
      {"--out", "a file of --data"});
  EXPECT_EQ(read_text(folder / "photos/cat/1.png"), "photo");
  write_text(folder / "t10k-images-idx3-ubyte", "pixels");
  expect_kept(
      folder,
      {"eval", "--model", model, "--data", "idx:" + folder.path() + ":test", "--out", folder / "t10k-images-idx3-ubyte"},
      {"--out"});  // eval writes nothing and has no --out
  expect_kept(folder,
              {"coverage", "--model", model, "--calibrate", "idx:" + folder.path() + ":test", "--save-statistics",
               folder / "t10k-images-idx3-ubyte"},
              {"--save-statistics", "--calibrate"});
}

/// The name may lie in the data's folder if no data set would read it, and an output may replace an older output.
TEST(Paths, OtherNamesAreFree) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "logits.safetensors";
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_EQ(elek_command({"run", "--model", model, "--data", "synthetic:4", "--out", out}).exit_code, 0);
  }
}

/// A name of up to 255 bytes is allowed, and a temporary name is longer; a link to nothing stays a link.
TEST(Paths, LongNamesAndLinksToNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto run = [&](const std::string& out) {
    return elek_command({"run", "--model", model, "--data", "synthetic:4", "--out", out});
  };
  const std::string longest = std::string(255 - 12, 'n') + ".safetensors";
  EXPECT_EQ(run(folder / longest).exit_code, 0);
  EXPECT_GT(fs::file_size(folder / longest), 0U);
  EXPECT_EQ(run(folder / ("n" + longest)).exit_code, 3);
  fs::create_symlink("target.safetensors", folder / "link.safetensors");
  EXPECT_EQ(run(folder / "link.safetensors").exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(folder / "link.safetensors"));
  EXPECT_TRUE(fs::is_regular_file(folder / "target.safetensors"));
  fs::create_symlink("loop", folder / "loop");
  EXPECT_EQ(run(folder / "loop").exit_code, 3);
}

TEST(Paths, NamesWithSpacesLineBreaksAndOtherBytes) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string name :
       {"a b", "line\nbreak", "\xc3\xa4\xe2\x82\xac", "latin1-\xe4", "'quote\"", "-dash", "semi;colon[0:1]"}) {
    const std::string copy = folder / (name + ".safetensors"), out = folder / (name + ".out");
    fs::copy_file(model, copy);
    const Outcome outcome = elek_command({"run", "--model", copy, "--data", "synthetic:4", "--out", out, "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << name << outcome.err;
    EXPECT_TRUE(outcome.json().is_object());
    EXPECT_TRUE(fs::exists(out)) << name;
  }
}

}  // namespace
}  // namespace elek::test
