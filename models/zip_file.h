// SPDX-License-Identifier: Apache-2.0
// The directory of a zip archive, and the bytes of its files: stored ones where they lie in the mapped archive, deflated ones
// through zlib, in pieces. torch.save and numpy.savez write such archives. Sizes and places are checked before anything is
// read: inside the archive, without overlap, and not more than the archive can hold (zip bombs).
// Must not write files, and must not follow the names in the archive anywhere.
// Tests: tests/models/zip_file_test.cpp, tests/fuzz/zip_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elek::detail {

struct ZipEntry {
  std::string name;
  std::span<const std::byte> bytes;  // as they lie in the archive
  bool deflated = false;
  uint64_t size = 0;   // of the contents
  uint32_t crc32 = 0;  // of the contents; 0: not recorded
};

/// The files in an archive, in the directory's order, folders left out.
/// Errors    InputError: the archive is cut off or damaged, encrypted, split, compressed in another way than by deflate, or
/// claims
///           more than 64 times its size
[[nodiscard]] std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& where);

/// Hands the contents of a deflated entry to `use`, piece by piece, in order.
/// Errors    InputError: the data are damaged or are not `size` bytes with the recorded CRC
void inflate_pieces(const ZipEntry& entry, const std::string& where,
                    const std::function<void(std::span<const std::byte>)>& use);
/// All contents of an entry, stored or deflated, its CRC checked: for small ones, such as a pickle.
[[nodiscard]] std::vector<std::byte> contents_of(const ZipEntry& entry, const std::string& where);
/// InputError if `contents` do not have the CRC that the archive recorded.
void check_crc(const ZipEntry& entry, std::span<const std::byte> contents, const std::string& where);

}  // namespace elek::detail
