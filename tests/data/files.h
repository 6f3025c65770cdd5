// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of data/: a temporary folder, and writers of small files in every format, broken ones included.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/error.h"
#include "elek/data.h"

namespace elek::test {

using Bytes = std::vector<uint8_t>;

/// A new folder, removed with all its contents at the end of the test.
class TempFolder {
 public:
  TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();
  [[nodiscard]] std::string path(const std::string& name = {}) const { return name.empty() ? path_ : path_ + "/" + name; }

 private:
  std::string path_;
};

/// Writes a file and creates missing folders of its path.
void write_file(const std::string& path, const Bytes& bytes);
void write_file(const std::string& path, const std::string& text);
[[nodiscard]] Bytes read_all(const std::string& path);

[[nodiscard]] Bytes gzip(const Bytes& bytes);
[[nodiscard]] Bytes idx(const std::vector<uint32_t>& dims, const Bytes& values, uint8_t type = 8);
[[nodiscard]] Bytes png(int width, int height, int channels, const Bytes& pixels);

/// 0, 1, 2, … modulo 251, from `start`. 251 is not a power of two, so rows and planes do not repeat.
[[nodiscard]] Bytes ramp(size_t count, size_t start = 0);

[[nodiscard]] Bytes decode(const Dataset& data, int64_t index, const ImageShape& shape);

/// Runs `act`, which must throw exactly an E whose message contains every one of `parts`.
template <typename E, typename Act>
void expect_error(Act act, std::initializer_list<const char*> parts) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_NE(dynamic_cast<const E*>(&error), nullptr) << "another type of error: " << error.what();
    for (const char* part : parts) EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
    return;
  }
  ADD_FAILURE() << "no error; expected one that says " << *parts.begin();
}

}  // namespace elek::test
