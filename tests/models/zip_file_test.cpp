// SPDX-License-Identifier: Apache-2.0
// The zip reader on archives made here, entry by entry, with planted faults. Archives of PyTorch and NumPy are read in
// torch_file_test.cpp.
#include "models/zip_file.h"

#include <gmock/gmock.h>

#include "tests/models/deflated.h"
#include "tests/models/files.h"

namespace elek::detail {
namespace {

using test::archive_of;
using test::message_of;
using test::packed;
using test::stored;
using Entry = test::ArchiveEntry;
using ::testing::AllOf;
using ::testing::HasSubstr;

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
