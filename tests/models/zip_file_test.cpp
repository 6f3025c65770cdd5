// SPDX-License-Identifier: Apache-2.0
// The zip reader on archives made here, entry by entry, with planted faults. Archives of PyTorch and NumPy are read in
// torch_file_test.cpp.
#include "models/zip_file.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "tests/models/files.h"

namespace elek::detail {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string le(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>((value >> (8 * i)) & 0xff);
  return text;
}

uint32_t crc_of(const std::string& data) {
  return static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

std::string deflated(const std::string& data) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(data.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// One entry of an archive, as its directory describes it.
struct Entry {
  std::string name, packed;
  uint64_t size = 0;
  uint32_t crc = 0;
  uint16_t method = 0, flags = 0;
  bool zip64 = false;
  uint64_t at = ~uint64_t{0};  // where the directory says that it is
};
Entry stored(const std::string& name, const std::string& data) { return {name, data, data.size(), crc_of(data)}; }
Entry packed(const std::string& name, const std::string& data) { return {name, deflated(data), data.size(), crc_of(data), 8}; }

std::string archive_of(const std::vector<Entry>& entries, const std::string& comment = "") {
  std::string archive, directory;
  bool zip64 = false;
  for (const Entry& e : entries) {
    const uint64_t at = e.at == ~uint64_t{0} ? archive.size() : e.at;
    zip64 = zip64 || e.zip64;
    const std::string extra =
        e.zip64 ? le(0x7777, 2) + le(2, 2) + "xx" + le(1, 2) + le(24, 2) + le(e.size, 8) + le(e.packed.size(), 8) + le(at, 8)
                : "";
    const auto number = [&](uint64_t value) { return e.zip64 ? le(0xffffffff, 4) : le(value, 4); };
    directory += "PK\x01\x02" + le(20, 2) + le(20, 2) + le(e.flags, 2) + le(e.method, 2) + le(0, 4) + le(e.crc, 4) +
                 number(e.packed.size()) + number(e.size) + le(e.name.size(), 2) + le(extra.size(), 2) + le(0, 10) +
                 number(at) + e.name + extra;
    archive += "PK\x03\x04" + le(20, 2) + le(e.flags, 2) + le(e.method, 2) + le(0, 16) + le(e.name.size(), 2) + le(3, 2) +
               e.name + "pad" + e.packed;
  }
  const uint64_t at = archive.size(), end64 = at + directory.size();
  archive += directory;
  if (zip64) {
    archive += "PK\x06\x06" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) + le(entries.size(), 8) + le(entries.size(), 8) +
               le(directory.size(), 8) + le(at, 8);
    archive += "PK\x06\x07" + le(0, 4) + le(end64, 8) + le(1, 4);
    return archive + "PK\x05\x06" + le(0, 4) + le(0xffff, 2) + le(0xffff, 2) + le(0xffffffff, 4) + le(0xffffffff, 4) + le(0, 2);
  }
  return archive + "PK\x05\x06" + le(0, 4) + le(entries.size(), 2) + le(entries.size(), 2) + le(directory.size(), 4) +
         le(at, 4) + le(comment.size(), 2) + comment;
}

std::vector<ZipEntry> read(const std::string& archive) {
  return read_zip(std::as_bytes(std::span<const char>(archive)), "a.zip");
}

std::string contents(const ZipEntry& entry) {
  const std::vector<std::byte> bytes = contents_of(entry, "a.zip");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string refused(const std::string& archive) {
  return message_of<InputError>([&] {
    for (const ZipEntry& entry : read(archive)) (void)contents(entry);
  });
}

TEST(Zip, ReadsStoredAndDeflatedEntries) {
  const std::string text(200'000, 'z');
  const std::string archive = archive_of(
      {stored("a/one", "first"), packed("a/two", text), stored("a/", ""), stored("none", "")}, "a comment PK\x05\x06");
  const std::vector<ZipEntry> entries = read(archive);
  ASSERT_EQ(entries.size(), 3U);  // the folder is left out
  EXPECT_EQ(entries[0].name, "a/one");
  EXPECT_EQ(contents(entries[0]), "first");
  EXPECT_TRUE(entries[1].deflated);
  EXPECT_EQ(contents(entries[1]), text);
  EXPECT_EQ(contents(entries[2]), "");
}

TEST(Zip, ReadsSizesOf64Bits) {
  Entry one = stored("one", "first"), two = packed("two", std::string(5000, 'y'));
  one.zip64 = two.zip64 = true;
  const std::string archive = archive_of({one, two});
  const std::vector<ZipEntry> entries = read(archive);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(contents(entries[0]), "first");
  EXPECT_EQ(contents(entries[1]), std::string(5000, 'y'));
}

TEST(Zip, AChecksumOf0IsNotCompared) {
  Entry entry = stored("one", "first");
  entry.crc = 0;  // as torch.serialization.set_crc32_options(False) leaves it
  const std::string archive = archive_of({entry});
  EXPECT_EQ(contents(read(archive)[0]), "first");
}

TEST(Zip, FaultsAreNamed) {
  const auto with = [](auto change) {
    Entry entry = packed("one", std::string(1000, 'a') + "b");
    change(entry);
    return refused(archive_of({entry}));
  };
  EXPECT_THAT(with([](Entry& e) { e.crc ^= 1; }), AllOf(HasSubstr("\"one\""), HasSubstr("CRC-32")));
  EXPECT_THAT(with([](Entry& e) { e.size += 1; }), HasSubstr("inflates to less"));
  EXPECT_THAT(with([](Entry& e) { e.size -= 1; }), HasSubstr("inflates to more"));
  EXPECT_THAT(with([](Entry& e) { e.packed.resize(e.packed.size() - 3); }), HasSubstr("cannot be inflated"));
  EXPECT_THAT(with([](Entry& e) { e.packed[0] = '\xff'; }), HasSubstr("cannot be inflated"));
  EXPECT_THAT(with([](Entry& e) { e.method = 12; }), HasSubstr("method 12"));
  EXPECT_THAT(with([](Entry& e) { e.flags = 1; }), HasSubstr("encrypted"));
  EXPECT_THAT(with([](Entry& e) { e.method = 0; }), HasSubstr("two sizes"));
  EXPECT_THAT(with([](Entry& e) { e.at = 12; }), HasSubstr("no header"));
  EXPECT_THAT(with([](Entry& e) { e.at = ~uint64_t{0} - 5; }), HasSubstr("no header"));
  EXPECT_THAT(with([](Entry& e) { e.size = 1U << 31; }), AllOf(HasSubstr("claims 2147483648 bytes"), HasSubstr("too many")));
  EXPECT_THAT(with([](Entry& e) {
                e.zip64 = true;
                e.size = ~uint64_t{0};
              }),
              HasSubstr("claims 18446744073709551615 bytes"));
  Entry twice = stored("two", std::string(500, 'x'));
  twice.at = 0;
  EXPECT_THAT(refused(archive_of({stored("one", std::string(500, 'x')), twice})), HasSubstr("overlap"));
  const std::string good = archive_of({stored("one", "first")});
  EXPECT_THAT(refused(good.substr(0, good.size() - 1)), HasSubstr("truncated at byte " + std::to_string(good.size() - 1)));
  std::string bad = good;
  bad[bad.size() - 12] = '\x02';  // two entries
  EXPECT_THAT(refused(bad), HasSubstr("too short"));
  bad = good;
  bad[bad.size() - 6] = '\x7f';  // the directory's place
  EXPECT_THAT(refused(bad), HasSubstr("outside of the file"));
}

TEST(Zip, EveryTruncationAndAnyFlippedByteIsReadOrRefusedAndNothingElse) {
  Entry two = packed("two", std::string(300, 'y'));
  two.zip64 = true;
  const std::string good = archive_of({stored("one", "first"), two});
  for (size_t length = 0; length < good.size(); ++length) EXPECT_NE(refused(good.substr(0, length)), "") << length;
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      const std::vector<char> bad = [&] {
        std::vector<char> bytes(good.begin(), good.end());
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
        return bytes;
      }();
      try {
        for (const ZipEntry& entry : read_zip(std::as_bytes(std::span<const char>(bad)), "a.zip")) (void)contents(entry);
      } catch (const InputError&) {
        continue;
      }
    }
  }
}

}  // namespace
}  // namespace elek::detail
