// SPDX-License-Identifier: Apache-2.0
// The header for C programs: a C compiler reads it in tests/api. Here its words are turned back into the file's bytes, for
// every length of the last word, and its constants are read.
#include "models/c_array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <vector>

#include "core/error.h"

namespace elek {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string written(const CArray& array) {
  const std::string path = std::filesystem::temp_directory_path() / ("elek-c-array-" + std::to_string(::getpid()) + ".h");
  save_c_array(array, path);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  return text.str();
}

std::vector<std::byte> some_bytes(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 37 + 200);
  return bytes;
}

/// The array's bytes as a little-endian machine stores its words.
std::vector<std::byte> bytes_of(const std::string& header) {
  std::vector<std::byte> bytes;
  const std::string array = header.substr(header.find("_file[]"));
  const std::regex word("0x([0-9a-f]+),");
  for (std::sregex_iterator at(array.begin(), array.end(), word), end; at != end; ++at) {
    uint64_t value = std::stoull((*at)[1], nullptr, 16);
    for (int i = 0; i < 8; ++i, value >>= 8) bytes.push_back(static_cast<std::byte>(value & 0xFF));
  }
  return bytes;
}

TEST(CArray, HoldsTheBytesOfTheFileWhateverItsLength) {
  for (const size_t count : {1U, 7U, 8U, 9U, 47U, 48U, 49U, 1000U}) {
    const std::vector<std::byte> file = some_bytes(count);
    CArray array{.name = "net", .source = "net.safetensors", .file = file, .input = {3, 4, 5}};
    const std::string header = written(array);
    std::vector<std::byte> found = bytes_of(header);
    ASSERT_EQ(found.size(), (count + 7) / 8 * 8);
    for (size_t i = count; i < found.size(); ++i) EXPECT_EQ(found[i], std::byte{0});
    found.resize(count);
    EXPECT_EQ(found, file);
    EXPECT_THAT(header, HasSubstr("#define NET_FILE_BYTES " + std::to_string(count) + "\n"));
  }
}

TEST(CArray, NamesShapesOptionsAndBlock) {
  const std::vector<std::byte> file = some_bytes(5);
  const CArray array{.name = "edge_2",
                     .source = "a*/b\n.safetensors",
                     .file = file,
                     .input = {3, 4, 5},
                     .classes = 10,
                     .batch = 2,
                     .threads = 3,
                     .precision = Precision::kInt8,
                     .deterministic = true,
                     .block_bytes = 123456,
                     .kernels = "direct AVX2"};
  const std::string header = written(array);
  for (const char* line :
       {"#define EDGE_2_CHANNELS 3 ", "#define EDGE_2_HEIGHT 4\n", "#define EDGE_2_WIDTH 5\n", "#define EDGE_2_CLASSES 10 ",
        "#define EDGE_2_BATCH 2 ", "#define EDGE_2_BLOCK_BYTES 123456 ", "static inline elek_options edge_2_options(void)",
        "options.batch = EDGE_2_BATCH;", "options.threads = 3;", "options.precision = ELEK_PRECISION_INT8;",
        "options.deterministic = 1;", "static const uint64_t edge_2_file[]", "direct AVX2"}) {
    EXPECT_THAT(header, HasSubstr(line));
  }
  EXPECT_THAT(header, Not(HasSubstr("a*/b"))) << "would end the comment";
}

TEST(CArray, KnowsWhatCAllowsAsAName) {
  for (const char* name : {"net", "_net", "Net_20"}) EXPECT_TRUE(is_c_identifier(name)) << name;
  for (const char* name : {"", "20net", "my-net", "net.v2", "n\xC3\xA9t"}) EXPECT_FALSE(is_c_identifier(name)) << name;
}

TEST(CArray, SaysWhyItCannotBeWritten) {
  const std::vector<std::byte> file = some_bytes(5);
  const CArray array{.name = "net", .file = file};
  EXPECT_THROW(save_c_array(array, "/nowhere/net.h"), InputError);
}

}  // namespace
}  // namespace elek
