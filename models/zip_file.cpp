// SPDX-License-Identifier: Apache-2.0
// Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 to 4.5.
#include "models/zip_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "models/text.h"

namespace elek::detail {

namespace {

constexpr uint32_t kEndMagic = 0x06054b50, kEnd64Magic = 0x06064b50, kLocatorMagic = 0x07064b50, kCentralMagic = 0x02014b50,
                   kLocalMagic = 0x04034b50;
constexpr size_t kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20, kCentralBytes = 46, kLocalBytes = 30;
constexpr size_t kMostCommentBytes = 65535;
constexpr uint16_t kStored = 0, kDeflated = 8;
constexpr uint16_t kEncryptedFlag = 1;
constexpr uint16_t kZip64Field = 1;
constexpr uint32_t kIn64 = 0xffffffff;       // this number is in the zip64 field
constexpr uint64_t kMostEntries = 200'000;   // an entry for each tensor, and TorchScript's code
constexpr uint64_t kMostGrowth = 64;         // deflate reaches 1,032; weights are far from it
constexpr uint64_t kFreeGrowth = 1U << 20U;  // small archives may hold a little more

template <typename T>
T number_at(std::span<const std::byte> bytes, uint64_t at) {  // little-endian, as the machines that elek supports
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

struct Directory {
  uint64_t at = 0, bytes = 0, entries = 0;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> archive, const std::string& where) : archive_(archive), where_(where) {}
  std::vector<ZipEntry> read();

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(where_ + ": " + what + "; the file is damaged: get it again");
  }
  /// Whether `count` bytes lie in the archive from `at` on.
  [[nodiscard]] bool has(uint64_t at, uint64_t count) const { return at <= archive_.size() && count <= archive_.size() - at; }
  [[nodiscard]] Directory directory() const;
  void find_64(Directory& found, uint64_t end_at) const;
  void apply_64(ZipEntry& entry, std::span<const std::byte> extra, uint64_t& packed, uint64_t& local) const;
  void place(ZipEntry& entry, uint64_t packed, uint64_t local) const;
  void check_sizes(const std::vector<ZipEntry>& entries) const;

  std::span<const std::byte> archive_;
  const std::string& where_;
};

/// The record that ends every archive. Behind it lies at most a comment.
Directory ZipReader::directory() const {
  const uint64_t size = archive_.size();
  const uint64_t earliest = size > kEndBytes + kMostCommentBytes ? size - kEndBytes - kMostCommentBytes : 0;
  for (uint64_t at = size >= kEndBytes ? size - kEndBytes + 1 : 0; at-- > earliest;) {
    if (number_at<uint32_t>(archive_, at) != kEndMagic) continue;
    if (number_at<uint16_t>(archive_, at + 4) != number_at<uint16_t>(archive_, at + 6)) fail("a zip archive in several parts");
    Directory found{number_at<uint32_t>(archive_, at + 16), number_at<uint32_t>(archive_, at + 12),
                    number_at<uint16_t>(archive_, at + 10)};
    find_64(found, at);
    if (!has(found.at, found.bytes)) fail("the zip archive's directory lies outside of the file");
    if (found.entries > found.bytes / kCentralBytes) fail("the zip archive's directory is too short for its entries");
    return found;
  }
  throw InputError(where_ + ": truncated at byte " + std::to_string(size) +
                   ": the directory that ends a zip archive is missing; get the file again");
}

void ZipReader::find_64(Directory& found, uint64_t end_at) const {
  if (end_at < kLocatorBytes || number_at<uint32_t>(archive_, end_at - kLocatorBytes) != kLocatorMagic) return;
  const auto at = number_at<uint64_t>(archive_, end_at - kLocatorBytes + 8);
  if (!has(at, kEnd64Bytes) || number_at<uint32_t>(archive_, at) != kEnd64Magic) fail("the zip archive's directory is missing");
  found = {number_at<uint64_t>(archive_, at + 48), number_at<uint64_t>(archive_, at + 40),
           number_at<uint64_t>(archive_, at + 32)};
}

/// Numbers that do not fit 32 bits are in an extra field, in this order, and only those.
void ZipReader::apply_64(ZipEntry& entry, std::span<const std::byte> extra, uint64_t& packed, uint64_t& local) const {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const auto id = number_at<uint16_t>(extra, at);
    const auto bytes = number_at<uint16_t>(extra, at + 2);
    if (bytes > extra.size() - at - 4) fail("a field of the zip archive's entry " + in_quotes(entry.name) + " is too long");
    if (id == kZip64Field) {
      const std::span<const std::byte> field = extra.subspan(at + 4, bytes);
      size_t next = 0;
      for (uint64_t* number : {&entry.size, &packed, &local}) {
        if (*number != kIn64) continue;
        if (next + 8 > field.size()) fail("the zip archive's entry " + in_quotes(entry.name) + " lacks its size");
        *number = number_at<uint64_t>(field, next);
        next += 8;
      }
      return;
    }
    at += 4 + bytes;
  }
}

/// Where the entry's bytes are: behind its local header.
void ZipReader::place(ZipEntry& entry, uint64_t packed, uint64_t local) const {
  const std::string name = "the zip archive's entry " + in_quotes(entry.name);
  if (!has(local, kLocalBytes) || number_at<uint32_t>(archive_, local) != kLocalMagic) fail(name + " has no header");
  const uint64_t begin =
      local + kLocalBytes + number_at<uint16_t>(archive_, local + 26) + number_at<uint16_t>(archive_, local + 28);
  if (!has(begin, packed)) fail(name + " lies outside of the file");
  entry.bytes = archive_.subspan(begin, packed);
  if (!entry.deflated && packed != entry.size) fail(name + " has two sizes");
}

void ZipReader::check_sizes(const std::vector<ZipEntry>& entries) const {
  std::vector<const ZipEntry*> order;
  uint64_t total = 0;
  const uint64_t most = archive_.size() > (std::numeric_limits<uint64_t>::max() - kFreeGrowth) / kMostGrowth
                            ? std::numeric_limits<uint64_t>::max()
                            : archive_.size() * kMostGrowth + kFreeGrowth;
  for (const ZipEntry& entry : entries) {
    order.push_back(&entry);
    if (entry.size > most || total > most - entry.size) {
      fail("the zip archive's entry " + in_quotes(entry.name) + " claims " + std::to_string(entry.size) +
           " bytes, too many for an archive of " + std::to_string(archive_.size()));
    }
    total += entry.size;
  }
  std::sort(order.begin(), order.end(), [](const ZipEntry* a, const ZipEntry* b) { return a->bytes.data() < b->bytes.data(); });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->bytes.data() < order[i - 1]->bytes.data() + order[i - 1]->bytes.size()) {
      fail("the zip archive's entries " + in_quotes(order[i - 1]->name) + " and " + in_quotes(order[i]->name) + " overlap");
    }
  }
}

std::vector<ZipEntry> ZipReader::read() {
  const Directory directory = this->directory();
  if (directory.entries > kMostEntries) {
    throw InputError(where_ + ": a zip archive with " + std::to_string(directory.entries) + " entries, more than " +
                     std::to_string(kMostEntries) + "; this is no file of weights");
  }
  std::vector<ZipEntry> entries;
  entries.reserve(directory.entries);
  uint64_t at = directory.at;
  const uint64_t end = directory.at + directory.bytes;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (end - at < kCentralBytes || number_at<uint32_t>(archive_, at) != kCentralMagic) {
      fail("the zip archive's directory ends at its entry " + std::to_string(i) + " of " + std::to_string(directory.entries));
    }
    const auto flags = number_at<uint16_t>(archive_, at + 8), method = number_at<uint16_t>(archive_, at + 10);
    const uint64_t name_bytes = number_at<uint16_t>(archive_, at + 28), extra_bytes = number_at<uint16_t>(archive_, at + 30),
                   comment_bytes = number_at<uint16_t>(archive_, at + 32);
    if (end - at - kCentralBytes < name_bytes + extra_bytes + comment_bytes) fail("the zip archive's directory is cut off");
    ZipEntry entry;
    entry.name.assign(reinterpret_cast<const char*>(archive_.data()) + at + kCentralBytes, name_bytes);
    entry.crc32 = number_at<uint32_t>(archive_, at + 16);
    entry.size = number_at<uint32_t>(archive_, at + 24);
    entry.deflated = method == kDeflated;
    const std::string name = "the zip archive's entry " + in_quotes(entry.name);
    if (entry.name.find('\0') != std::string::npos) fail(name + " has a NUL byte in its name");
    if (leaves_folder(entry.name)) fail(name + " has a path out of the archive's folder");
    if ((flags & kEncryptedFlag) != 0) throw InputError(where_ + ": " + name + " is encrypted");
    if (method != kStored && method != kDeflated) {
      throw InputError(where_ + ": " + name + " is compressed by method " + std::to_string(method) + "; elek reads deflate");
    }
    uint64_t packed = number_at<uint32_t>(archive_, at + 20), local = number_at<uint32_t>(archive_, at + 42);
    apply_64(entry, archive_.subspan(at + kCentralBytes + name_bytes, extra_bytes), packed, local);
    at += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
    if (entry.name.ends_with('/')) continue;
    place(entry, packed, local);
    entries.push_back(std::move(entry));
  }
  check_sizes(entries);
  return entries;
}

uint32_t crc_of(uint32_t crc, std::span<const std::byte> bytes) {
  constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::span<const std::byte> piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    crc = static_cast<uint32_t>(::crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size())));
  }
  return crc;
}

/// zlib's state, freed on every way out.
struct Inflation {
  z_stream stream{};
  Inflation() = default;
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;
  ~Inflation() { inflateEnd(&stream); }
};

[[noreturn]] void damaged(const ZipEntry& entry, const std::string& where, const std::string& what) {
  throw InputError(where + ": the zip archive's entry " + in_quotes(entry.name) + " " + what +
                   "; the file is damaged: get it again");
}

void require_crc(const ZipEntry& entry, uint32_t crc, const std::string& where) {
  if (entry.crc32 != 0 && crc != entry.crc32) damaged(entry, where, "does not have its checksum (CRC-32)");
}

}  // namespace

std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& where) {
  return ZipReader(archive, where).read();
}

void check_crc(const ZipEntry& entry, std::span<const std::byte> contents, const std::string& where) {
  require_crc(entry, crc_of(0, contents), where);
}

void inflate_pieces(const ZipEntry& entry, const std::string& where,
                    const std::function<void(std::span<const std::byte>)>& use) {
  constexpr int kRawDeflate = -15;  // no zlib header; the largest window
  Inflation inflation;
  z_stream& stream = inflation.stream;
  if (inflateInit2(&stream, kRawDeflate) != Z_OK) throw InputError(where + ": zlib could not be started");
  std::array<std::byte, size_t{1} << 16> piece;
  uint64_t fed = 0, made = 0;
  uint32_t crc = 0;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const auto feed = std::min<uint64_t>(entry.bytes.size() - fed, size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(entry.bytes.data() + fed));
      stream.avail_in = static_cast<uInt>(feed);
      fed += feed;
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END) damaged(entry, where, "cannot be inflated");
    const std::span<const std::byte> part(piece.data(), piece.size() - stream.avail_out);
    made += part.size();
    if (made > entry.size) damaged(entry, where, "inflates to more than its size");
    crc = crc_of(crc, part);
    use(part);
  }
  if (made != entry.size) damaged(entry, where, "inflates to less than its size");
  require_crc(entry, crc, where);
}

std::vector<std::byte> contents_of(const ZipEntry& entry, const std::string& where) {
  if (!entry.deflated) {
    check_crc(entry, entry.bytes, where);
    return {entry.bytes.begin(), entry.bytes.end()};
  }
  std::vector<std::byte> contents;
  inflate_pieces(entry, where,
                 [&](std::span<const std::byte> part) { contents.insert(contents.end(), part.begin(), part.end()); });
  return contents;
}

}  // namespace elek::detail
