// SPDX-License-Identifier: Apache-2.0
// elek prepare on files that have weights only: no --arch is needed, what was assumed is said with the option that overrules
// it, --key chooses one of several networks, and --try chooses the reading that agrees with the labels. The files are those of
// tests/models/import_test.cpp, and the shipped network.
#include <filesystem>

#include "models/safetensors.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/import/" + name + ".safetensors"; }

Outcome prepare(const Folder& folder, const std::string& weights, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"prepare", "--weights", weights, "--out", folder / "net.safetensors"};
  words.insert(words.end(), more.begin(), more.end());
  return elek_command(words);
}

/// The tensors of two files in one, each under its prefix.
void write_both(const std::string& path, const std::vector<std::pair<std::string, std::string>>& prefix_and_file) {
  std::vector<SafetensorsFile> files;  // the entries' bytes lie in them
  std::vector<SafetensorsEntry> entries;
  for (const auto& [prefix, file] : prefix_and_file) {
    files.push_back(SafetensorsFile::open(file));
    for (const auto& [name, entry] : files.back().entries()) {
      ASSERT_EQ(entry.dtype, "F32");
      entries.push_back({prefix + name, DType::kF32, entry.shape, entry.bytes});
    }
  }
  write_safetensors(path, entries, {});
}

TEST(Import, NeedsNothingButTheFileAndSaysWhatItAssumed) {
  const Folder folder;
  const Outcome made = prepare(folder, fixture("cifar_a"));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, AllOf(HasSubstr("assumed: shortcut: option A"), HasSubstr("--shortcut A-end"),
                              HasSubstr("assumed: input size: 3x32x32"), HasSubstr("--bn-eps"), HasSubstr("--evaluate DATA")));
  EXPECT_THAT(made.out, HasSubstr("cifar_resnet12"));
  const Outcome history = elek_command({"info", "--model", folder / "net.safetensors", "--history"});
  EXPECT_THAT(history.out,
              AllOf(HasSubstr("cifar_a.safetensors"), HasSubstr("assumed  shortcut: option A"), HasSubstr("source   file ")));
}

TEST(Import, AMaxPoolFollowsALargeStemUnlessItIsSaidOtherwise) {
  const Folder folder;
  EXPECT_THAT(prepare(folder, fixture("timm_resnet")).err, HasSubstr("assumed: stem: 7x7 with stride 2, then a 3x3 max pool"));
  EXPECT_THAT(prepare(folder, fixture("timm_resnet"), {"--no-max-pool"}).err,
              HasSubstr("assumed: stem: 7x7 with stride 2, no max pool"));
  EXPECT_THAT(prepare(folder, fixture("cifar_b"), {"--max-pool"}).err,
              HasSubstr("assumed: stem: 3x3 with stride 1, then a 3x3"));
}

TEST(Import, OptionsOverruleAndAreNotCalledAssumed) {
  const Folder folder;
  const Outcome made = prepare(folder, fixture("cifar_a"),
                               {"--shortcut", "A-end", "--bn-eps", "0.001", "--input", "3,12,12", "--max-pool", "--stem-stride",
                                "2", "--stage-strides", "1,2,2", "--mean", "0,0,0", "--std", "1,1,1", "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, Not(HasSubstr("assumed")));
  for (const auto& each : made.json().at("assumptions")) EXPECT_EQ(each.at("source"), "given") << each;
}

TEST(Import, AModelOfElekKeepsItsPixels) {
  const Folder folder;
  ASSERT_EQ(prepare(folder, fixture("cifar_b"), {"--mean", "0.1,0.2,0.3", "--std", "1,1,1", "--input", "3,12,12"}).exit_code,
            0);
  std::filesystem::rename(folder / "net.safetensors", folder / "first.safetensors");
  const Outcome again = prepare(folder, folder / "first.safetensors");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err,
              AllOf(HasSubstr("from the model file itself: mean and std: mean 0.1,0.2,0.3"), Not(HasSubstr("assumed"))));
  const auto before = elek_command({"info", "--model", folder / "first.safetensors", "--json"}).json();
  EXPECT_EQ(elek_command({"info", "--model", folder / "net.safetensors", "--json"}).json().at("hash"), before.at("hash"));
}

// The file says mean and std, the images say their size. With other ones this network gets 73.9 % of the images right.
TEST(Import, TakesPixelsFromTheFilesOwnMetadataAndTheSizeOfTheImages) {
  const Folder folder;
  const std::string weights = shipped_data() + "/resnet56_fashion_mnist.safetensors";
  const std::string images = "idx:" + shipped_data() + ":test[0:500]";
  const Outcome given =
      prepare(folder, weights, {"--input", "1,28,28", "--mean", "0.286", "--std", "0.353", "--evaluate", images, "--json"});
  ASSERT_EQ(given.exit_code, 0) << given.err;
  EXPECT_GT(given.json().at("accuracy").at("top1"), 0.88);  // 91.46 % of 10,000; four standard errors are 5 %
  const Outcome made = prepare(folder, weights, {"--evaluate", images, "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.json().at("accuracy"), given.json().at("accuracy"));
  EXPECT_THAT(made.err, AllOf(HasSubstr("from the file's metadata: mean and std: mean 0.286, std 0.353"),
                              HasSubstr("from the images: input size: 1x28x28")));
  EXPECT_THAT(prepare(folder, weights).err, HasSubstr("assumed: input size: 1x32x32"));
  EXPECT_THAT(prepare(folder, weights, {"--input", "1,32,32", "--evaluate", images}).err,
              HasSubstr("images of 28x28 are resized to the network's input, 32x32"));
}

TEST(Import, KeyChoosesOneOfTheNetworksOfAFile) {
  const Folder folder;
  const std::string both = folder / "both.safetensors";
  write_both(both, {{"model.", fixture("cifar_b")}, {"model_ema.", fixture("cifar_project_first")}});
  const Outcome open_question = prepare(folder, both);
  EXPECT_EQ(open_question.exit_code, 3);
  EXPECT_THAT(open_question.err, AllOf(HasSubstr("model"), HasSubstr("model_ema"), HasSubstr("--key NAME")));
  EXPECT_FALSE(std::filesystem::exists(folder / "net.safetensors"));
  const auto hash_of = [&](const std::string& weights, const std::vector<std::string>& more) {
    const Outcome made = prepare(folder, weights, more);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return elek_command({"info", "--model", folder / "net.safetensors", "--json"}).json().at("hash");
  };
  EXPECT_EQ(hash_of(both, {"--key", "model"}), hash_of(fixture("cifar_b"), {}));
  EXPECT_EQ(hash_of(both, {"--key", "model_ema"}), hash_of(fixture("cifar_project_first"), {}));
  EXPECT_NE(hash_of(fixture("cifar_b"), {}), hash_of(fixture("cifar_project_first"), {}));
  const Outcome none = prepare(folder, both, {"--key", "teacher"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, AllOf(HasSubstr("teacher"), HasSubstr("model_ema")));
}

TEST(Import, TryFindsThePixelsOfTheShippedNetwork) {
  const Folder folder;
  const std::string bare = folder / "without_metadata.safetensors";
  write_both(bare, {{"", shipped_data() + "/resnet20_fashion_mnist.safetensors"}});
  const Outcome made = prepare(folder, bare, {"--evaluate", "idx:" + shipped_data() + ":test[0:1000]", "--try"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, AllOf(HasSubstr("reading"), HasSubstr("This reading agrees with the labels: "),
                              HasSubstr("Fashion-MNIST's pixels")));
  const auto info = elek_command({"info", "--model", folder / "net.safetensors", "--json"}).json();
  EXPECT_NEAR(info.at("mean").at(0).get<double>(), 0.2860, 1e-6);
}

TEST(Import, TryWritesNothingIfNoReadingAgrees) {
  const Folder folder;
  const Outcome made = prepare(folder, shipped_data() + "/resnet20_fashion_mnist.safetensors",
                               {"--input", "1,28,28", "--evaluate", "synthetic:100:1", "--try"});
  EXPECT_EQ(made.exit_code, 3);
  EXPECT_THAT(made.err, HasSubstr("better than chance"));
  EXPECT_FALSE(std::filesystem::exists(folder / "net.safetensors"));
}

TEST(Import, AdviceNamesTheOptions) {
  const Folder folder;
  EXPECT_THAT(prepare(folder, fixture("cifar_b"), {"--head", "nosuch"}).err, HasSubstr("--head none"));
  EXPECT_THAT(prepare(folder, fixture("cifar_b"), {"--rename", "nonsense"}).err, HasSubstr("OLD=NEW"));
  EXPECT_EQ(prepare(folder, fixture("cifar_b"), {"--stage-strides", "1,2"}).exit_code, 2);
  EXPECT_EQ(prepare(folder, fixture("cifar_b"), {"--try"}).exit_code, 2);
}

}  // namespace
}  // namespace elek::test
