// SPDX-License-Identifier: Apache-2.0
// Makes zip archives in memory, as torch.save and numpy.savez write them: stored entries, no comments.
// For tests/models/torch_file_test.cpp and tests/fuzz/torch_fuzz.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace elek::test {

/// The lowest `bytes` bytes of a number, little-endian.
inline std::string little_endian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>((value >> (8 * i)) & 0xff);
  return text;
}

/// An archive of (name, contents). Checksums are 0: not recorded.
inline std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string archive, directory;
  for (const auto& [name, data] : files) {
    const std::string common = little_endian(20, 2) + std::string(12, '\0') + little_endian(data.size(), 4) +
                               little_endian(data.size(), 4) + little_endian(name.size(), 2) + std::string(2, '\0');
    directory += "PK\x01\x02" + little_endian(20, 2) + common + std::string(10, '\0') + little_endian(archive.size(), 4) + name;
    archive += "PK\x03\x04" + common + name + data;
  }
  const std::string count = little_endian(files.size(), 2);
  return archive + directory + "PK\x05\x06" + std::string(4, '\0') + count + count + little_endian(directory.size(), 4) +
         little_endian(archive.size(), 4) + std::string(2, '\0');
}

}  // namespace elek::test
