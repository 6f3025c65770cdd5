// SPDX-License-Identifier: Apache-2.0
// Makes zip archives in memory, as torch.save and numpy.savez write them, or with planted faults.
// For the tests of models/ and tests/fuzz/torch_fuzz.cpp. Compressed entries: deflated.h.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace elek::test {

/// The lowest `bytes` bytes of a number, little-endian.
inline std::string little_endian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i, value >>= 8U) text += static_cast<char>(value & 0xff);
  return text;
}

/// One entry of an archive, as its directory describes it.
struct ArchiveEntry {
  std::string name, packed;
  uint64_t size = 0;
  uint32_t crc = 0;
  uint16_t method = 0, flags = 0;
  bool zip64 = false;
  uint64_t at = ~uint64_t{0};  // where the directory says that it is
};

/// Sizes and places of 64 bits where an entry asks for them, or there are too many entries for 16 bits.
inline std::string archive_of(const std::vector<ArchiveEntry>& entries, const std::string& comment = "") {
  std::string archive, directory;
  bool zip64 = entries.size() >= 0xffff;
  for (const ArchiveEntry& e : entries) {
    const uint64_t at = e.at == ~uint64_t{0} ? archive.size() : e.at;
    zip64 = zip64 || e.zip64;
    const std::string extra = e.zip64 ? little_endian(0x7777, 2) + little_endian(2, 2) + "xx" + little_endian(1, 2) +
                                            little_endian(24, 2) + little_endian(e.size, 8) +
                                            little_endian(e.packed.size(), 8) + little_endian(at, 8)
                                      : "";
    const auto number = [&](uint64_t value) { return e.zip64 ? little_endian(0xffffffff, 4) : little_endian(value, 4); };
    directory += "PK\x01\x02" + little_endian(20, 2) + little_endian(20, 2) + little_endian(e.flags, 2) +
                 little_endian(e.method, 2) + little_endian(0, 4) + little_endian(e.crc, 4) + number(e.packed.size()) +
                 number(e.size) + little_endian(e.name.size(), 2) + little_endian(extra.size(), 2) + little_endian(0, 10) +
                 number(at) + e.name + extra;
    archive += "PK\x03\x04" + little_endian(20, 2) + little_endian(e.flags, 2) + little_endian(e.method, 2) +
               little_endian(0, 16) + little_endian(e.name.size(), 2) + little_endian(3, 2) + e.name + "pad" + e.packed;
  }
  const uint64_t at = archive.size(), end64 = at + directory.size();
  archive += directory;
  if (zip64) {
    archive += "PK\x06\x06" + little_endian(44, 8) + little_endian(45, 2) + little_endian(45, 2) + little_endian(0, 8) +
               little_endian(entries.size(), 8) + little_endian(entries.size(), 8) + little_endian(directory.size(), 8) +
               little_endian(at, 8);
    archive += "PK\x06\x07" + little_endian(0, 4) + little_endian(end64, 8) + little_endian(1, 4);
    return archive + "PK\x05\x06" + little_endian(0, 4) + little_endian(0xffff, 2) + little_endian(0xffff, 2) +
           little_endian(0xffffffff, 4) + little_endian(0xffffffff, 4) + little_endian(0, 2);
  }
  return archive + "PK\x05\x06" + little_endian(0, 4) + little_endian(entries.size(), 2) + little_endian(entries.size(), 2) +
         little_endian(directory.size(), 4) + little_endian(at, 4) + little_endian(comment.size(), 2) + comment;
}

/// An archive of (name, contents). Checksums are 0: not recorded.
inline std::string zip_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::vector<ArchiveEntry> entries;
  for (const auto& [name, data] : files) entries.push_back({name, data, data.size()});
  return archive_of(entries);
}

}  // namespace elek::test
