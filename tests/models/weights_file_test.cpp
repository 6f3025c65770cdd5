// SPDX-License-Identifier: Apache-2.0
// Named tensors of any container: what is listed, and that values are read exactly, whatever their type and strides.
#include "models/weights_file.h"

#include <gmock/gmock.h>

#include <array>
#include <cstring>

#include "models/stored_dtype.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::container;
using test::message_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> values_of(const WeightsFile& file, const std::string& name) {
  const WeightsFile::Entry* entry = file.find(name);
  EXPECT_NE(entry, nullptr) << name;
  std::vector<float> values(static_cast<size_t>(entry->elements()), -77);
  file.read(*entry, values);
  return values;
}

TEST(WeightsFile, ListsTheTensorsOfASafetensorsFileByName) {
  const test::Folder folder;
  test::write_all(folder / "w.safetensors",
                  container(R"({"__metadata__":{"k":"v"},"b":{"dtype":"BOOL","shape":[3],"data_offsets":[4,7]},)"
                            R"("a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},)"
                            R"("e":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[7,8]},)"
                            R"("none":{"dtype":"F32","shape":[4611686018427387904,0,8],"data_offsets":[8,8]}})",
                            std::string("\x80\x3f\x20\xc0\x00\x01\x02\x07", 8)));
  const WeightsFile file = WeightsFile::open(folder / "w.safetensors");
  ASSERT_EQ(file.entries().size(), 4U);
  EXPECT_EQ(file.entries()[0].name, "a");
  EXPECT_EQ(file.entries()[0].dtype, "BF16");
  EXPECT_THAT(file.entries()[0].shape, ElementsAre(1, 2));
  EXPECT_TRUE(file.entries()[0].is_floating());
  EXPECT_FALSE(file.entries()[1].is_floating());
  EXPECT_EQ(file.metadata().at("k"), "v");
  EXPECT_TRUE(file.notes().empty());
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_THAT(values_of(file, "a"), ElementsAre(1.0F, -2.5F));
  EXPECT_THAT(values_of(file, "b"), ElementsAre(0.0F, 1.0F, 1.0F));  // a mask; any byte but 0 is true
  EXPECT_TRUE(values_of(file, "none").empty());
  EXPECT_THAT(message_of<InputError>([&] { (void)values_of(file, "e"); }),
              AllOf(HasSubstr("w.safetensors"), HasSubstr("\"e\""), HasSubstr("F8_E4M3")));
  std::vector<float> wrong_size(3);
  EXPECT_THROW(file.read(file.entries()[0], wrong_size), ContractError);
}

/// Of f32 only, and only where a float may be read.
TEST(WeightsFile, ShowsValuesWhereTheyLie) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]}})";
  const std::string bytes = container(header, std::string("\x00\x00\x80\x3f\x00\x00\x20\xc0\x80\x3f\x20\xc0", 12));
  const size_t data = bytes.size() - 12;
  for (const size_t shift : {0, 1, 2, 3}) {
    alignas(8) std::array<std::byte, 512> room{};
    std::memcpy(room.data() + shift, bytes.data(), bytes.size());
    const WeightsFile file(SafetensorsFile::parse({room.data() + shift, bytes.size()}, "memory"));
    const std::span<const float> a = file.in_place(*file.find("a"));
    if ((shift + data) % alignof(float) == 0) {
      EXPECT_THAT(a, ElementsAre(1.0F, -2.5F));
      EXPECT_EQ(static_cast<const void*>(a.data()), room.data() + shift + data);
    } else {
      EXPECT_TRUE(a.empty());
    }
    EXPECT_TRUE(file.in_place(*file.find("b")).empty());
    EXPECT_THAT(values_of(file, "a"), ElementsAre(1.0F, -2.5F));
  }
}

TEST(StoredDtype, StridesAreFollowedInRowMajorOrder) {
  std::vector<int16_t> memory(24);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<int16_t>(i);
  const std::vector<int64_t> shape = {2, 3, 2}, strides = {1, 8, 2};
  std::vector<float> got(12), want;
  for (int64_t i = 0; i < 2; ++i)
    for (int64_t j = 0; j < 3; ++j)
      for (int64_t k = 0; k < 2; ++k) want.push_back(static_cast<float>(i * 1 + j * 8 + k * 2));
  detail::to_f32({"I16", test::bytes_of(memory), shape, strides}, "test", got);
  EXPECT_EQ(got, want);
  std::vector<float> floats(24);
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = static_cast<float>(i);
  detail::to_f32({"F32", test::bytes_of(floats), shape, strides}, "test", got);
  EXPECT_EQ(got, want);
  std::vector<float> repeated(6);
  const std::vector<int64_t> wide = {3, 2}, broadcast = {0, 5};  // expand(): one row, three times
  detail::to_f32({"F32", test::bytes_of(floats), wide, broadcast}, "test", repeated);
  EXPECT_THAT(repeated, ElementsAre(0, 5, 0, 5, 0, 5));
}

}  // namespace
}  // namespace elek
