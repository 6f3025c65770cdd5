// SPDX-License-Identifier: Apache-2.0
// The safetensors reader on malformed and correct files. Every message must contain the words that explain the defect, so a
// file that is refused for another reason than the planted one fails the test.
#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstring>

#include "tests/models/files.h"

namespace elek {
namespace {

using test::container;
using test::message_of;
using test::parse;
using test::with_length;
using ::testing::HasSubstr;

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

const std::string kA = tensor("F32", "[2]", "[0,8]");

TEST(Safetensors, ReadsWhatTheFormatAllows) {
  const std::string header = R"({"__metadata__":{"format":"pt","note":"x\u00e9"},"b":)" + tensor("U8", "[3]", "[12,15]") +
                             R"(,"a":)" + tensor("F32", "[1,2]", "[0,8]") + R"(,"scalar":)" + tensor("I32", "[]", "[8,12]") +
                             R"(,"none":)" + tensor("F64", "[0,7]", "[8,8]") + "}   ";
  const std::string bytes = container(header, std::string("\0\0\x80\x3f\0\0\0\x40", 8) + std::string("\x07\0\0\0", 4) + "xyz");
  const SafetensorsFile file = parse(bytes);
  ASSERT_EQ(file.entries().size(), 4U);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"note", "x\xc3\xa9"}}));
  EXPECT_EQ(file.where(), "test.safetensors");
  const SafetensorsFile::Entry& a = file.at("a");
  EXPECT_EQ(a.dtype, "F32");
  EXPECT_EQ(a.shape, (std::vector<int64_t>{1, 2}));
  float values[2];
  ASSERT_EQ(a.bytes.size(), sizeof(values));
  std::memcpy(values, a.bytes.data(), sizeof(values));
  EXPECT_EQ(values[0], 1.0F);
  EXPECT_EQ(values[1], 2.0F);
  EXPECT_EQ(file.at("b").bytes.size(), 3U);
  EXPECT_EQ(std::to_integer<char>(file.at("b").bytes[2]), 'z');
  EXPECT_TRUE(file.at("scalar").shape.empty());
  EXPECT_EQ(file.at("scalar").bytes.size(), 4U);
  EXPECT_EQ(file.at("none").bytes.size(), 0U);
  EXPECT_EQ(parse(container("{}", "")).entries().size(), 0U);
}

TEST(Safetensors, AMillionTensorsAreTooMany) {
  std::string header = "{";
  for (int i = 0; i < 1'000'000; ++i) {
    header += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }
  EXPECT_THAT(message_of<InputError>([&] { (void)parse(container(header + "}", "")); }), HasSubstr("more than 100000 tensors"));
}

TEST(Safetensors, AMissingTensorIsNamed) {
  const std::string bytes = container("{\"a\":" + kA + "}", std::string(8, 'x'));
  EXPECT_THAT(message_of<InputError>([&] { (void)parse(bytes).at("conv9.weight"); }),
              ::testing::AllOf(HasSubstr("conv9.weight"), HasSubstr("missing"), HasSubstr("test.safetensors")));
}

struct Lie {
  const char* name;
  std::string bytes;
  std::string says;
};

std::vector<Lie> lies() {
  const std::string eight(8, 'x');
  const auto one = [&](const std::string& entry) { return container("{\"w\":" + entry + "}", eight); };
  const std::string good = container("{\"a\":" + kA + "}", eight);
  return {
      {"empty", "", "empty"},
      {"seven_bytes", "1234567", "a text file"},
      {"seven_zeros", std::string(7, '\0'), "truncated at byte 7"},
      {"length_only", with_length(2, ""), "the file holds 0"},
      {"truncated_header", good.substr(0, 20), "the header claims"},
      {"truncated_data", good.substr(0, good.size() - 1), "truncated"},
      {"one_byte_too_many", good + "y", "expected 8 bytes of data, found 9"},
      {"huge_header", with_length(100'000'001, "{}"), "more than the format's 100000000"},
      {"header_length_max", with_length(~uint64_t{0}, "{}"), "more than the format's"},
      {"text_file", "This is a text file, not a network.\n", "text file"},
      {"short_text_file", "hello world", "text file"},
      {"pytorch_zip", std::string("PK\x03\x04\x14\0\0\0\0\0\0\0", 12), "a zip archive"},
      {"empty_header", with_length(0, eight), "does not start with '{'"},
      {"leading_space", container(" {}", ""), "does not start with '{'"},
      {"array_header", container("[]", ""), "does not start with '{'"},
      {"not_json", container("{\"a\":", ""), "not valid JSON"},
      {"two_documents", container("{}{}", ""), "not valid JSON"},
      {"bad_utf8", container("{\"\xff\":" + kA + "}", eight), "not valid JSON"},
      {"nul_in_header", container(std::string("{}\0", 3), ""), "not valid JSON"},
      {"deep_nesting", container("{\"a\":" + std::string(1'000'000, '['), ""), "found an array"},
      {"deep_objects", one(R"({"dtype":{"a":{"a":{"a":1}}}})"), "dtype: expected a string, found an object"},
      {"offset_past_end", one(tensor("F32", "[3]", "[0,12]")), "outside the file's 8 bytes"},
      {"offset_wraps", one(tensor("F32", "[2]", "[18446744073709551608,18446744073709551615]")), "outside the file"},
      {"offset_beyond_64_bits", one(tensor("F32", "[2]", "[0,18446744073709551616]")),
       "data_offsets: expected non-negative integers"},
      {"offsets_reversed", one(tensor("F32", "[2]", "[8,0]")), "reversed"},
      {"offset_negative", one(tensor("F32", "[2]", "[-1,7]")), "the negative number -1"},
      {"offset_fraction", one(tensor("F32", "[2]", "[0,8.5]")), "fraction"},
      {"one_offset", one(tensor("F32", "[2]", "[0]")), "one of them is missing"},
      {"three_offsets", one(tensor("F32", "[2]", "[0,8,8]")), "more than two data_offsets"},
      {"overlap", container("{\"a\":" + kA + ",\"b\":" + tensor("F32", "[2]", "[4,12]") + "}", eight + "abcd"), "overlaps"},
      {"same_place", container("{\"a\":" + kA + ",\"b\":" + kA + "}", eight), "overlaps"},
      {"hole", container("{\"a\":" + kA + ",\"b\":" + tensor("F32", "[1]", "[12,16]") + "}", eight + eight), "hole"},
      {"hole_at_start", container("{\"a\":" + tensor("F32", "[1]", "[4,8]") + "}", eight), "hole"},
      {"data_but_no_tensor", container("{}", eight), "expected 0 bytes of data, found 8"},
      {"shape_too_large", one(tensor("F32", "[3]", "[0,8]")), "takes 12 bytes, its data_offsets hold 8"},
      {"shape_too_small", one(tensor("F32", "[1]", "[0,8]")), "takes 4 bytes, its data_offsets hold 8"},
      {"dtype_lies", one(tensor("F64", "[2]", "[0,8]")), "takes 16 bytes, its data_offsets hold 8"},
      {"shape_overflows", one(tensor("F32", "[4294967296,4294967296]", "[0,8]")), "more elements than fit"},
      {"shape_overflows_to_0", one(tensor("U8", "[4294967296,4294967296,1]", "[0,8]")), "more elements than fit"},
      {"dimension_beyond_63_bits", one(tensor("F32", "[9223372036854775808]", "[0,8]")), "a dimension of 9223372036854775808"},
      {"shape_negative", one(tensor("F32", "[-2]", "[0,8]")), "the negative number -2"},
      {"shape_string", one(tensor("F32", "[\"2\"]", "[0,8]")), "shape: expected non-negative integers"},
      {"shape_number", one(tensor("F32", "2", "[0,8]")), "shape: expected a list"},
      {"shape_nested", one(tensor("F32", "[[2]]", "[0,8]")), "found an array"},
      {"rank_65",
       one(tensor(
           "F32",
           "[1" +
               [] {
                 std::string s;
                 for (int i = 0; i < 64; ++i) s += ",1";
                 return s;
               }() +
               "]",
           "[0,4]")),
       "more than 64 dimensions"},
      {"unknown_dtype", one(tensor("F9", "[8]", "[0,8]")), "unknown dtype \"F9\"; elek knows F32"},
      {"dtype_number", one(R"({"dtype":4,"shape":[2],"data_offsets":[0,8]})"), "dtype: expected a string"},
      {"no_dtype", one(R"({"shape":[2],"data_offsets":[0,8]})"), "one of them is missing"},
      {"no_shape", one(R"({"dtype":"F32","data_offsets":[0,8]})"), "one of them is missing"},
      {"no_offsets", one(R"({"dtype":"F32","shape":[2]})"), "one of them is missing"},
      {"unknown_field", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1})"), "found \"more\""},
      {"shape_twice", one(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"), "once each"},
      {"tensor_is_number", one("3"), "expected an object with dtype"},
      {"tensor_is_null", one("null"), "expected an object with dtype"},
      {"name_twice", container("{\"a\":" + kA + ",\"a\":" + kA + "}", eight), "appears twice"},
      {"metadata_twice", container(R"({"__metadata__":{},"__metadata__":{}})", ""), "appears twice"},
      {"metadata_key_twice", container(R"({"__metadata__":{"k":"1","k":"2"}})", ""), "\"k\" appears twice"},
      {"metadata_number", container(R"({"__metadata__":{"epoch":6}})", ""), "\"epoch\": expected a string, found the number 6"},
      {"metadata_nested", container(R"({"__metadata__":{"epoch":{}}})", ""), "\"epoch\": expected a string, found an object"},
      {"metadata_list", container(R"({"__metadata__":["a"]})", ""), "expected an object of strings"},
  };
}

class SafetensorsLies : public ::testing::TestWithParam<Lie> {};

TEST_P(SafetensorsLies, AreInputErrorsThatSayWhat) {
  // A copy of exactly the file's size on the heap: a read beyond it is one that AddressSanitizer sees.
  const std::vector<char> bytes(GetParam().bytes.begin(), GetParam().bytes.end());
  const std::string message = message_of<InputError>(
      [&] { (void)SafetensorsFile::parse(std::as_bytes(std::span<const char>(bytes)), "test.safetensors"); });
  EXPECT_THAT(message, HasSubstr(GetParam().says));
  EXPECT_THAT(message, HasSubstr("test.safetensors"));
  EXPECT_LT(message.size(), 600U);
}

INSTANTIATE_TEST_SUITE_P(Files, SafetensorsLies, ::testing::ValuesIn(lies()),
                         [](const ::testing::TestParamInfo<Lie>& lie) { return std::string(lie.param.name); });

TEST(Safetensors, EveryTruncationOfAFileIsRefused) {
  const std::string good =
      container("{\"a\":" + kA + ",\"b\":" + tensor("I64", "[1]", "[8,16]") + "}", std::string(16, '\x01'));
  EXPECT_NO_THROW((void)parse(good));
  for (size_t length = 0; length < good.size(); ++length) {
    const std::string part = good.substr(0, length);
    EXPECT_THROW((void)parse(part), InputError) << "of " << good.size() << " bytes the first " << length;
  }
}

TEST(Safetensors, AnyFlippedByteIsReadOrRefusedAndNothingElse) {
  const std::string good = container(R"({"__metadata__":{"k":"v"},"a":)" + kA + "}", std::string(8, '\x01'));
  int64_t refused = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string bad = good;
      bad[at] = static_cast<char>(value);
      try {
        (void)parse(bad);
      } catch (const InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 255 * 8);  // the length alone refuses nearly all of its values
}

TEST(Safetensors, OpensOnlyFiles) {
  const test::Folder folder;
  EXPECT_THAT(message_of<InputError>([&] { (void)SafetensorsFile::open(folder / "absent"); }), HasSubstr("No such file"));
  EXPECT_THAT(message_of<InputError>([&] { (void)SafetensorsFile::open(folder / "."); }), HasSubstr("a directory"));
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(message_of<InputError>([&] { (void)SafetensorsFile::open(folder / "fifo"); }), HasSubstr("no regular file"));
  test::write_all(folder / "empty", "");
  EXPECT_THAT(message_of<InputError>([&] { (void)SafetensorsFile::open(folder / "empty"); }),
              ::testing::AllOf(HasSubstr("the file is empty"), HasSubstr(folder / "empty")));
}

TEST(Safetensors, AFileOutlivesItsHandleAndItsName) {
  const test::Folder folder;
  test::write_all(folder / "a", container("{\"a\":" + kA + "}", "abcdefgh"));
  SafetensorsFile file = SafetensorsFile::open(folder / "a");
  const SafetensorsFile copy = file;
  file = parse(container("{}", ""));
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(std::to_integer<char>(copy.at("a").bytes[7]), 'h');
}

}  // namespace
}  // namespace elek
