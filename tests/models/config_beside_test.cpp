// SPDX-License-Identifier: Apache-2.0
// What config.json and preprocessor_config.json beside a weights file say, in the forms of timm and of transformers; and what
// the metadata of the file itself says.
#include "models/config_beside.h"

#include <gmock/gmock.h>

#include "tests/models/files.h"

namespace elek::detail {
namespace {

using test::Folder;
using test::message_of;
using test::write_all;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ConfigBeside, OfTimm) {
  const Folder folder;
  write_all(folder / "config.json", R"({"architecture": "resnet18", "num_classes": 2, "label_names": ["cat", "dog"],
    "pretrained_cfg": {"input_size": [3, 160, 128], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.95,
                       "interpolation": "bicubic"}})");
  const Beside beside = read_beside(folder / "model.safetensors");
  EXPECT_EQ(beside.channels, 3);
  EXPECT_EQ(beside.height, 160);
  EXPECT_EQ(beside.width, 128);
  EXPECT_THAT(beside.preprocessing->mean, ElementsAre(0.1F, 0.2F, 0.3F));
  EXPECT_THAT(beside.preprocessing->stddev, ElementsAre(0.4F, 0.5F, 0.6F));
  EXPECT_EQ(beside.preprocessing_from, "config.json");
  EXPECT_THAT(beside.labels, ElementsAre("cat", "dog"));
  EXPECT_THAT(beside.notes, Contains(AllOf(HasSubstr("0.95"), HasSubstr("bicubic"))));
}

TEST(ConfigBeside, OfTransformers) {
  const Folder folder;
  write_all(folder / "config.json", R"({"model_type": "resnet", "hidden_act": "relu", "downsample_in_first_stage": true,
    "downsample_in_bottleneck": true, "id2label": {"0": "cat", "1": "dog"}})");
  write_all(folder / "preprocessor_config.json",
            R"({"image_mean": [0.5], "image_std": [0.25], "size": {"shortest_edge": 96}})");
  const Beside beside = read_beside(folder / "model.safetensors");
  EXPECT_EQ(beside.stride_on_first, true);
  EXPECT_EQ(beside.stride_in_first_stage, true);
  EXPECT_THAT(beside.labels, ElementsAre("cat", "dog"));
  EXPECT_EQ(beside.height, 96);
  EXPECT_EQ(beside.input_from, "preprocessor_config.json");
  EXPECT_THAT(beside.preprocessing->mean, ElementsAre(0.5F));
  write_all(folder / "config.json", R"({"model_type": "resnet", "hidden_act": "gelu"})");
  EXPECT_THAT(message_of<InputError>([&] { (void)read_beside(folder / "model.safetensors"); }),
              AllOf(HasSubstr("gelu"), HasSubstr("relu")));
}

TEST(ConfigBeside, OtherFilesWithTheseNamesAreLeftAlone) {
  const Folder folder;
  EXPECT_THAT(read_beside(folder / "w.safetensors").notes, IsEmpty());
  write_all(folder / "config.json", R"({"model_type": "bert", "hidden_act": "gelu", "input_size": [3, 1, 1]})");
  write_all(folder / "preprocessor_config.json", R"({"image_mean": [0.5], "image_std": [0.25], "size": 96})");
  const Beside beside = read_beside(folder / "w.safetensors");
  EXPECT_FALSE(beside.preprocessing.has_value() || beside.height.has_value());
  EXPECT_THAT(beside.notes, IsEmpty());
}

TEST(ConfigBeside, DamagedFilesAreTold) {
  const Folder folder;
  for (const std::string& text :
       {std::string("{"), std::string("[1, 2]"), std::string(100000, '['), "{\"a\":" + std::string(100000, '{')}) {
    write_all(folder / "config.json", text);
    EXPECT_THAT(read_beside(folder / "w.safetensors").notes, Contains(HasSubstr("config.json")));
  }
  write_all(folder / "config.json",
            R"({"pretrained_cfg": {"input_size": [3, -1, 1e9], "mean": ["a"], "std": [0], "crop_pct": "x"}})");
  const Beside beside = read_beside(folder / "w.safetensors");
  EXPECT_FALSE(beside.preprocessing.has_value() || beside.height.has_value() || beside.width.has_value());
}

Beside own(const std::map<std::string, std::string>& metadata) {
  Beside made;
  made.preprocessing = Preprocessing{{0.9F}, {0.9F}};  // of config.json, which counts less
  made.preprocessing_from = "config.json";
  read_metadata(metadata, made);
  return made;
}

TEST(Metadata, OverrulesTheFilesBeside) {
  for (const std::string size : {"3,160,128", "[3, 160, 128]", "(3, 160, 128)"}) {
    const Beside beside = own({{"mean", "[0.1, 0.2, 0.3]"}, {"std", "0.4, 0.5,0.6"}, {"input_size", size}, {"format", "pt"}});
    EXPECT_THAT(beside.preprocessing->mean, ElementsAre(0.1F, 0.2F, 0.3F));
    EXPECT_THAT(beside.preprocessing->stddev, ElementsAre(0.4F, 0.5F, 0.6F));
    EXPECT_EQ(beside.preprocessing_from, "the file's metadata");
    EXPECT_EQ(beside.input_from, "the file's metadata");
    EXPECT_EQ(beside.channels, 3);
    EXPECT_EQ(beside.height, 160);
    EXPECT_EQ(beside.width, 128);
    EXPECT_THAT(beside.notes, IsEmpty());
  }
  EXPECT_THAT(own({{"mean", "0.286"}, {"std", "0.353"}}).preprocessing->mean, ElementsAre(0.286F));
  EXPECT_EQ(own({{"format", "pt"}}).preprocessing_from, "config.json");
}

TEST(Metadata, OfAnotherFormIsTold) {
  for (const auto& [mean, stddev] : std::vector<std::pair<std::string, std::string>>{{"0.5", "0.5,0.5"},
                                                                                     {"imagenet", "imagenet"},
                                                                                     {"", ""},
                                                                                     {"0.5", "0"},
                                                                                     {"0.5", "nan"},
                                                                                     {"[0.5", "[0.5"},
                                                                                     {"{\"a\": 1}", "1"},
                                                                                     {std::string(500, '['), "0.5"},
                                                                                     {std::string(100000, '1'), "0.5"}}) {
    const Beside beside = own({{"mean", mean}, {"std", stddev}});
    EXPECT_EQ(beside.preprocessing_from, "config.json") << mean.substr(0, 20);
    EXPECT_THAT(beside.notes, ElementsAre(HasSubstr("mean or std"))) << mean.substr(0, 20);
  }
  for (const std::string size : {"32", "3,0,32", "3,32,1e9", "3,32,32,32", "3,thirty,32", ""}) {
    const Beside beside = own({{"input", size}});
    EXPECT_FALSE(beside.height.has_value()) << size;
    EXPECT_THAT(beside.notes, ElementsAre(HasSubstr("channels,height,width"))) << size;
  }
}

}  // namespace
}  // namespace elek::detail
