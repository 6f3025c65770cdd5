// SPDX-License-Identifier: Apache-2.0
// Models through the C interface: from a file and from memory, shapes, labels, images, the likeliest classes.
#include <cmath>
#include <fstream>
#include <iterator>

#include "elek/data.h"
#include "tests/api/c_api.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

std::vector<char> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(CApiModel, VersionIsTheProjects) { EXPECT_THAT(elek_version(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+")); }

TEST(CApiModel, TellsShapeAndLabels) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_shape shape = {};
  ASSERT_EQ(elek_model_shape(model.get(), &shape), ELEK_OK);
  EXPECT_EQ(shape.channels, 3);
  EXPECT_EQ(shape.height, 12);
  EXPECT_EQ(shape.width, 10);
  EXPECT_EQ(shape.classes, 10);
  EXPECT_STREQ(elek_model_label(model.get(), 9), "class-9");
  EXPECT_EQ(elek_model_label(model.get(), 10), nullptr);
  EXPECT_EQ(elek_model_label(model.get(), -1), nullptr);
}

TEST(CApiModel, LoadsFromMemoryAndNeedsItNoLonger) {
  const ModelFile file;
  std::vector<char> bytes = bytes_of(file.path());
  elek_model* loaded = nullptr;
  ASSERT_EQ(elek_model_load_memory(bytes.data(), bytes.size(), &loaded), ELEK_OK) << elek_last_error(nullptr);
  const ModelHandle from_memory(loaded);
  std::fill(bytes.begin(), bytes.end(), char{0x7f});
  const ModelHandle from_file = load(file.path());
  const auto pixels = tiny_pixels({3, 12, 10}, 2, 5);
  std::vector<float> logits[2] = {std::vector<float>(20), std::vector<float>(20)};
  const elek_model* models[] = {from_memory.get(), from_file.get()};
  for (size_t i = 0; i < 2; ++i) {
    const SessionHandle session = open(models[i], elek_default_options());
    ASSERT_EQ(elek_session_run_pixels(session.get(), pixels.data(), 2, logits[i].data()), ELEK_OK);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(CApiModel, DamagedBytesAreAnInputError) {
  const ModelFile file;
  const std::vector<char> bytes = bytes_of(file.path());
  elek_model* model = nullptr;
  EXPECT_EQ(elek_model_load_memory(bytes.data(), bytes.size() / 2, &model), ELEK_ERROR_INPUT);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("model in memory"));
  EXPECT_EQ(elek_model_load_memory("text", 4, &model), ELEK_ERROR_INPUT);
  EXPECT_EQ(model, nullptr);
}

TEST(CApiModel, ReadsAnImage) {
  const ModelFile file(TinyOptions{.input = {1, 28, 28}});
  const ModelHandle model = load(file.path());
  const std::string path = std::string(ELEK_SOURCE_DIR) + "/examples/ankle-boot.png";
  std::vector<uint8_t> read(784), decoded(784), expected(784);
  ASSERT_EQ(elek_model_read_image(model.get(), path.c_str(), read.data(), 784), ELEK_OK) << elek_last_error(nullptr);
  const std::vector<char> bytes = bytes_of(path);
  ASSERT_EQ(elek_model_decode_image(model.get(), bytes.data(), bytes.size(), decoded.data(), 784), ELEK_OK);
  // The picture is the first of the shipped test images.
  const auto data = parse_data(std::string("idx:") + ELEK_SOURCE_DIR + "/data/fashion-mnist:test[0:1]", {1, 28, 28});
  data->decode(0, {1, 28, 28}, expected);
  EXPECT_EQ(read, expected);
  EXPECT_EQ(decoded, expected);
}

TEST(CApiModel, ImagesThatCannotBeReadAreErrors) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  std::vector<uint8_t> pixels(360);
  EXPECT_EQ(elek_model_read_image(model.get(), "/nowhere.png", pixels.data(), 360), ELEK_ERROR_INPUT);
  EXPECT_EQ(elek_model_decode_image(model.get(), "no image", 8, pixels.data(), 360), ELEK_ERROR_INPUT);
  const std::string path = std::string(ELEK_SOURCE_DIR) + "/examples/ankle-boot.png";
  EXPECT_EQ(elek_model_read_image(model.get(), path.c_str(), pixels.data(), 359), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("360"));
}

TEST(CApiModel, TopKIsSortedWithLabelsAndSoftmax) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  const float logits[10] = {0, 3, 1, 3, std::nanf(""), -1, 2, 0, 0, 0};
  elek_class top[10];
  ASSERT_EQ(elek_model_top_k(model.get(), logits, 3, top), ELEK_OK);
  EXPECT_EQ(top[0].index, 1);  // of two equal logits the lower class
  EXPECT_EQ(top[1].index, 3);
  EXPECT_EQ(top[2].index, 6);
  EXPECT_STREQ(top[0].label, "class-1");
  const float finite[10] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
  ASSERT_EQ(elek_model_top_k(model.get(), finite, 10, top), ELEK_OK);
  EXPECT_NEAR(top[0].probability, std::exp(1.0) / (std::exp(1.0) + 9), 1e-12);
  double sum = 0;
  for (const elek_class& one : top) sum += one.probability;
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_EQ(elek_model_top_k(model.get(), logits, 0, top), ELEK_ERROR_USAGE);
  EXPECT_EQ(elek_model_top_k(model.get(), logits, 11, top), ELEK_ERROR_USAGE);
}

}  // namespace
}  // namespace elek::test
