// SPDX-License-Identifier: Apache-2.0
// JPEG: the pixels of libjpeg-turbo are Pillow's (tests/fixtures/scripts/make_jpeg.py); damaged, truncated and hostile files
// are refused by both decoders. What only libjpeg-turbo does is skipped in a build without it.
#include "data/jpeg.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "data/image.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

constexpr ImageShape kFixture{3, 29, 37};

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/jpeg/" + name; }

bool has_libjpeg() { return !libjpeg_version().empty(); }

Bytes decoded(const Bytes& file, const ImageShape& shape = kFixture) {
  Bytes pixels(static_cast<size_t>(shape.elements()));
  decode_image(file, shape, pixels, "photo.jpg");
  return pixels;
}

void expect_refused(const Bytes& file, std::initializer_list<const char*> parts) {
  expect_error<InputError>([&] { static_cast<void>(decoded(file)); }, parts);
}

/// Where the last segment with this marker begins.
size_t last_marker(const Bytes& file, uint8_t marker) {
  const std::array<uint8_t, 2> wanted{0xff, marker};
  return static_cast<size_t>(std::find_end(file.begin(), file.end(), wanted.begin(), wanted.end()) - file.begin());
}

class JpegKind : public ::testing::TestWithParam<const char*> {};

TEST_P(JpegKind, IsPillowsToTheBit) {
  if (!has_libjpeg()) GTEST_SKIP() << "built without libjpeg-turbo";
  const Bytes want = decoded(read_all(fixture(std::string(GetParam()) + ".png")));
  const auto [least, most] = std::minmax_element(want.begin(), want.end());
  ASSERT_GT(*most - *least, 100) << "the fixture is no picture";
  EXPECT_EQ(decoded(read_all(fixture(std::string(GetParam()) + ".jpg"))), want);
}

TEST_P(JpegKind, EveryTruncatedFileIsRefusedByName) {
  const Bytes whole = read_all(fixture(std::string(GetParam()) + ".jpg"));
  for (size_t size = 0; size < whole.size(); ++size) {
    expect_refused({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, {"photo.jpg: "});
  }
}

// A flipped bit may give another picture or an error, but nothing else. Sanitizers check the rest.
TEST_P(JpegKind, FlippedBitsEndTheReadingOnlyByAnInputError) {
  const Bytes whole = read_all(fixture(std::string(GetParam()) + ".jpg"));
  int refused = 0;
  for (size_t byte = 2; byte < whole.size(); ++byte) {
    Bytes broken = whole;
    broken[byte] = static_cast<uint8_t>(broken[byte] ^ (1U << byte % 8));
    try {
      static_cast<void>(decoded(broken));
    } catch (const InputError& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr("photo.jpg: "));
    }
  }
  EXPECT_GT(refused, 0);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, JpegKind,
                         ::testing::Values("baseline_420", "baseline_422", "baseline_444", "progressive_420", "progressive_444",
                                           "restarts", "rgb", "grey", "grey_progressive", "cmyk", "ycck", "exif_rotated",
                                           "stray_bytes"));

TEST(Jpeg, TheDecoderSaysItsName) {
  EXPECT_EQ(jpeg_decoder(), has_libjpeg() ? std::string(libjpeg_version()) : "stb_image");
  EXPECT_THAT(jpeg_decoder(), ::testing::ContainsRegex("^libjpeg-turbo [0-9]+[.]|^stb_image$"));
}

TEST(Jpeg, GreyGivesOneChannelAndColourGivesPillowsLuma) {
  const ImageShape one{1, 29, 37};
  const Bytes grey = decoded(read_all(fixture("grey.jpg")), one), wide = decoded(read_all(fixture("grey.jpg")));
  for (size_t i = 0; i < grey.size(); ++i) ASSERT_EQ(grey[i], wide[3 * i + 1]);
  const Bytes luma = decoded(read_all(fixture("baseline_420.jpg")), one), rgb = decoded(read_all(fixture("baseline_420.jpg")));
  for (size_t i = 0; i < luma.size(); ++i) {  // ITU-R 601, to the nearest
    const double want = 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
    ASSERT_NEAR(luma[i], want, 0.51) << "weights in 16 bits are off by less than 0.01 of a level";
  }
}

// Where coded data end too early, libjpeg goes on with grey blocks.
TEST(Jpeg, AnEndInTheMiddleOfTheImageIsRefused) {
  if (!has_libjpeg()) GTEST_SKIP() << "built without libjpeg-turbo";
  Bytes file = read_all(fixture("baseline_444.jpg"));
  file.resize(file.size() / 2);
  file.insert(file.end(), {0xff, 0xd9});
  expect_refused(file, {"photo.jpg: cannot be decoded (libjpeg-turbo ", "premature end of data segment"});
}

// A scan that comes again contradicts the ones before, which is corrupt data. So this file does not reach the limit of scans.
TEST(Jpeg, AThousandScansAreRefused) {
  if (!has_libjpeg()) GTEST_SKIP() << "built without libjpeg-turbo";
  Bytes file = read_all(fixture("grey_progressive.jpg"));
  const Bytes scan(file.begin() + static_cast<std::ptrdiff_t>(last_marker(file, 0xda)), file.end() - 2);
  file.resize(file.size() - 2);
  for (int i = 0; i < 1000; ++i) file.insert(file.end(), scan.begin(), scan.end());
  file.insert(file.end(), {0xff, 0xd9});
  expect_refused(file, {"photo.jpg: ", "libjpeg-turbo"});
}

// The header claims 4 gigapixels; nothing of that size may be allocated.
TEST(Jpeg, HugeImagesAreRefused) {
  for (const auto& [name, marker] : {std::pair("baseline_420.jpg", 0xc0), std::pair("progressive_420.jpg", 0xc2)}) {
    Bytes file = read_all(fixture(name));
    const size_t frame = last_marker(file, static_cast<uint8_t>(marker));
    ASSERT_LT(frame + 8, file.size());
    for (size_t i = frame + 5; i < frame + 9; ++i) file[i] = 0xfa;  // height and width
    expect_refused(file, {"photo.jpg: ", "64250x64250", "134217728", "scale it down"});
  }
}

TEST(Jpeg, DataWithJpegsAreKnownByTheirNames) {
  TempFolder folder;
  for (const char* name : {"a/1.png", "a/2.PNG", "b/3.png"}) write_file(folder.path(name), png(1, 1, 3, {1, 2, 3}));
  EXPECT_FALSE(has_jpegs(*parse_data("images:" + folder.path(), kFixture)));
  write_file(folder.path("b/4.JPeG"), read_all(fixture("grey.jpg")));
  EXPECT_TRUE(has_jpegs(*parse_data("images:" + folder.path(), kFixture)));
  EXPECT_FALSE(has_jpegs(*parse_data("images:" + folder.path() + "[0:3]", kFixture))) << "the JPEG is the fourth";
}

int64_t big_endian(const Bytes& file, size_t at) {
  return int64_t{file[at]} << 24 | int64_t{file[at + 1]} << 16 | int64_t{file[at + 2]} << 8 | int64_t{file[at + 3]};
}

// By hand: make_jpeg.py FOLDER makes some hundreds. Says how many differ from Pillow, and how many are decoded in a second.
TEST(Jpeg, DISABLED_FilesOfAFolderAgainstPillow) {
  const char* folder = std::getenv("ELEK_JPEG_FOLDER");
  ASSERT_NE(folder, nullptr);
  int files = 0, differ = 0;
  std::chrono::duration<double> spent{};
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".jpg") continue;
    const std::string name = entry.path().string();
    const Bytes jpeg = read_all(name), pillow = read_all(name.substr(0, name.size() - 3) + "png");
    const ImageShape shape{3, big_endian(pillow, 20), big_endian(pillow, 16)};  // from the PNG's header
    const auto begin = std::chrono::steady_clock::now();
    const Bytes got = decoded(jpeg, shape);
    spent += std::chrono::steady_clock::now() - begin;
    ++files;
    if (got == decoded(pillow, shape)) continue;
    ++differ;
    if (has_libjpeg()) ADD_FAILURE() << name << " has other pixels";
  }
  std::cout << jpeg_decoder() << ": " << files << " files, " << differ << " differ from Pillow, "
            << static_cast<double>(files) / spent.count() << " a second\n";
}

}  // namespace
}  // namespace elek::test
