// SPDX-License-Identifier: Apache-2.0
// Names of classes: folders are matched to the network's classes by name, never silently misread; label files; data that hold
// a part of the classes; images without labels.
#include <array>
#include <filesystem>

#include "elek/data.h"
#include "tests/cli/command.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kImages = 200;
constexpr std::array<const char*, 10> kClasses{"T-shirt-top", "Trouser", "Pullover", "Dress", "Coat",
                                               "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

/// Test images of Fashion-MNIST as PNG, in one folder for each class, or in no folder where the name is empty.
template <typename Name>
std::string photos(const Folder& folder, const std::string& root, const Name& name_of) {
  const ImageShape shape{1, 28, 28};
  const auto data = parse_data("idx:" + shipped_data() + ":test", shape);
  for (int64_t i = 0; i < kImages; ++i) {
    const std::string path = folder / (root + "/" + name_of(data->label(i)));
    fs::create_directories(path);
    write_file(path + "/" + std::to_string(i) + ".png", png(28, 28, 1, decode(*data, i, shape)));
  }
  return "images:" + (folder / root);
}

Outcome eval(const std::string& model, const std::string& data) {
  return elek_command({"eval", "--model", model, "--data", data, "--json"});
}

TEST(Labels, FoldersAreMatchedByName) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const Outcome idx = eval(model, "idx:" + shipped_data() + ":test[0:" + std::to_string(kImages) + "]");
  const Outcome named = eval(model, photos(folder, "named", [](int label) { return std::string(kClasses.at(label)); }));
  ASSERT_EQ(named.exit_code, 0) << named.err;
  EXPECT_EQ(named.json().at("top1"), idx.json().at("top1"));
  EXPECT_THAT(named.err, AllOf(HasSubstr("matched to the network's by their names"), Not(HasSubstr("warning"))));
  // As numbers the folders are in the network's order already.
  const Outcome numbers = eval(model, photos(folder, "numbers", [](int label) { return std::to_string(label); }));
  EXPECT_EQ(numbers.json().at("top1"), idx.json().at("top1"));
  EXPECT_THAT(numbers.err, Not(HasSubstr("warning")));
  // Three classes of ten are still the right ones.
  for (const auto& entry : fs::directory_iterator(folder / "named")) {
    const std::string name = entry.path().filename();
    if (name != "Bag" && name != "Coat" && name != "Sandal") fs::remove_all(entry.path());
  }
  const Outcome three = eval(model, "images:" + (folder / "named"));
  ASSERT_EQ(three.exit_code, 0) << three.err;
  EXPECT_GT(three.json().at("top1").get<double>(), 0.8);
}

TEST(Labels, NamesThatDifferAreToldAndContradictionsRefused) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const Outcome other = eval(model, photos(folder, "ids", [](int label) { return "n0" + std::to_string(label); }));
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_THAT(other.err, AllOf(HasSubstr("the names of the classes differ"), HasSubstr("'n00'"), HasSubstr("'T-shirt/top'")));
  const Outcome some = eval(model, photos(folder, "some", [](int label) {
                              return label == 1 ? std::string("Bag") : "other " + std::to_string(label);
                            }));
  EXPECT_EQ(some.exit_code, 3);
  EXPECT_THAT(some.err, AllOf(HasSubstr("'Bag' is number 0 in the data and number 8 in the network"), HasSubstr("'other 0'")));
  EXPECT_THAT(some.out, IsEmpty());
}

TEST(Labels, AFolderWithFewerClassesIsToldOf) {
  const Folder folder;
  const Outcome made =
      eval(tiny_model(folder), photos(folder, "three", [](int label) { return "abc" + std::to_string(label % 3); }));
  EXPECT_EQ(made.exit_code, 0);
  EXPECT_THAT(made.err,
              HasSubstr("the data have 3 classes and the network 10: they are taken as its classes 0 to 2, 'abc0' as class 0"));
}

TEST(Labels, PrepareDoesNotTakeNamesThatNobodyAskedFor) {
  const Folder folder;
  const std::string data = photos(folder, "named", [](int label) { return std::string(kClasses.at(label)); });
  const std::string out = folder / "net.safetensors";
  const Outcome made = elek_command({"prepare", "--weights", shipped_data() + "/resnet20_fashion_mnist.safetensors", "--input",
                                     "1,28,28", "--mean", "0.2860", "--std", "0.3530", "--evaluate", data, "--out", out});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("--labels FILE"));
  EXPECT_THAT(elek_command({"info", "--model", out, "--json"}).json().at("labels"), IsEmpty());
}

TEST(Labels, ASliceOfSortedDataIsToldOf) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const std::string data = photos(folder, "numbers", [](int label) { return std::to_string(label); });
  EXPECT_THAT(eval(model, data + "[0:20]").err, HasSubstr("hold only 1 of the 10 classes"));
  EXPECT_THAT(elek_command({"eval", "--model", model, "--data", data, "--limit", "20"}).err,
              HasSubstr("only 1 of the 10 classes"));
  EXPECT_THAT(
      elek_command({"coverage", "--model", model, "--calibrate", data + "[0:20]", "--save-statistics", folder / "s"}).err,
      HasSubstr("only 1 of the 10 classes"));
}

TEST(Labels, ImagesWithoutLabelsServeWhereNoneAreNeeded) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const std::string flat = photos(folder, "flat", [](int) { return std::string(); });
  const Outcome run = elek_command({"run", "--model", model, "--data", flat, "--out", folder / "logits", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.json().at("samples"), kImages);
  EXPECT_EQ(elek_command({"coverage", "--model", model, "--calibrate", flat, "--save-statistics", folder / "sums"}).exit_code,
            0);
  const Outcome needs = eval(model, flat);
  EXPECT_EQ(needs.exit_code, 3);
  EXPECT_THAT(needs.err, HasSubstr("have no labels"));
}

TEST(Labels, CopiesAmongCalibrationImagesAreToldOf) {
  const Folder folder;
  fs::create_directories(folder / "black/a");
  for (int i = 0; i < 8; ++i) write_file(folder / ("black/a/" + std::to_string(i) + ".png"), png(28, 28, 1, Bytes(784, 0)));
  const Outcome made = elek_command({"coverage", "--model", shipped_model(folder), "--calibrate",
                                     "images:" + (folder / "black"), "--save-statistics", folder / "sums"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("of the 8 calibration images only 1 are different"));
}

/// The file of --labels, and what the model then has.
TEST(LabelFile, MarksBlankLinesAndOtherTexts) {
  const Folder folder;
  const std::string labels = folder / "labels.txt", out = folder / "net.safetensors";
  const auto prepare = [&](const std::string& text) {
    write_text(labels, text);
    return elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "8", "--input", "3,16,16", "--classes", "3",
                         "--random", "1", "--labels", labels, "--out", out});
  };
  for (const std::string text : {"a\nb\nc", "a\nb\nc\n",
                                 "\xef\xbb\xbf"
                                 "a\r\nb\r\nc\r\n",
                                 "a\nb\nc\n\n\n"}) {
    ASSERT_EQ(prepare(text).exit_code, 0) << text;
    EXPECT_EQ(elek_command({"info", "--model", out, "--json"}).json().at("labels"), nlohmann::json({"a", "b", "c"})) << text;
  }
  const auto refused = [&](const std::string& text, const std::string& says) {
    const Outcome outcome = prepare(text);
    EXPECT_EQ(outcome.exit_code, 3) << text;
    EXPECT_THAT(outcome.err, HasSubstr(says));
  };
  refused("", "is empty");
  refused("\n\n", "is empty");
  refused("a\n\nc\n", "line 2 is blank");
  refused("a\ncaf\xe9\nc\n", "line 2 is not UTF-8");
  EXPECT_EQ(elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--labels", folder.path(), "--out", out}).exit_code,
            3);
  write_text(labels, "a\nb\n");
  EXPECT_EQ(elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--labels", labels, "--out", out}).exit_code, 2);
}

}  // namespace
}  // namespace elek::test
