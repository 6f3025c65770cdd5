// SPDX-License-Identifier: Apache-2.0
// Folders of images: which files are samples, in which order and with which labels; and the messages for folders without
// samples.
#include "data/image_folder.h"

#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "data/image.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const ImageShape kShape{3, 2, 2};

Bytes pixel_image(uint8_t value) { return png(2, 2, 3, Bytes(12, value)); }

std::shared_ptr<const Dataset> open(const TempFolder& folder) { return parse_data("images:" + folder.path(), kShape); }

TEST(ImageFolder, ClassesAndFilesAreSortedByTheirBytes) {
  TempFolder folder;
  // Upper case before lower case, 10 before 9, and UTF-8 after ASCII: bytes, not a locale.
  write_file(folder.path("zebra/b.png"), pixel_image(1));
  write_file(folder.path("zebra/B.PNG"), pixel_image(2));
  write_file(folder.path("zebra/10.Jpeg"), pixel_image(3));  // a PNG by content: the name only says that it is an image
  write_file(folder.path("zebra/9.jpg"), pixel_image(4));
  write_file(folder.path("Apple/x.png"), pixel_image(5));
  write_file(folder.path("\xc3\xa4rger/x.png"), pixel_image(6));
  write_file(folder.path("zebra/notes.txt"), "no image");
  write_file(folder.path("zebra/.hidden.png"), "no image");
  write_file(folder.path(".cache/x.png"), "no image");
  write_file(folder.path("README.md"), "no class");
  const int64_t warnings = warnings_so_far();
  const auto data = open(folder);
  EXPECT_EQ(warnings_so_far(), warnings);
  EXPECT_THAT(data->labels(), ElementsAre("Apple", "zebra", "\xc3\xa4rger"));
  EXPECT_EQ(data->classes(), 3);
  ASSERT_EQ(data->size(), 6);
  std::vector<int> values;
  std::vector<int> labels;
  for (int64_t i = 0; i < 6; ++i) {
    values.push_back(decode(*data, i, kShape)[0]);
    labels.push_back(data->label(i));
  }
  EXPECT_THAT(values, ElementsAre(5, 3, 4, 2, 1, 6));
  EXPECT_THAT(labels, ElementsAre(0, 1, 1, 1, 1, 2));
  EXPECT_EQ(data->name(2), folder.path("zebra/9.jpg"));
}

TEST(ImageFolder, AClassWithoutImagesKeepsItsNumberAndIsWarnedOf) {
  TempFolder folder;
  std::filesystem::create_directories(folder.path("a"));
  write_file(folder.path("b/x.png"), pixel_image(1));
  write_file(folder.path("stray.png"), pixel_image(1));
  const int64_t warnings = warnings_so_far();
  const auto data = open(folder);
  EXPECT_EQ(warnings_so_far(), warnings + 2);  // the empty class, and the image that has none
  EXPECT_EQ(data->classes(), 2);
  EXPECT_EQ(data->size(), 1);
  EXPECT_EQ(data->label(0), 1);
}

TEST(ImageFolder, ImagesThatAreLeftOutAreWarnedOf) {
  TempFolder folder;
  write_file(folder.path("a/1.png"), pixel_image(1));
  write_file(folder.path("a/x.bmp"), "bitmap");
  write_file(folder.path("a/y.WebP"), "webp");
  write_file(folder.path("a/notes.txt"), "no image");
  write_file(folder.path("a/sub/2.png"), pixel_image(2));
  write_file(folder.path("b/3.png"), pixel_image(3));
  testing::internal::CaptureStderr();
  EXPECT_EQ(open(folder)->size(), 2);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("2 image files are not read (.bmp, .webp)"));
  EXPECT_THAT(said, HasSubstr("1 folders inside the class folders are not read, for example " + folder.path("a/sub")));
}

/// A class folder that is a link may lose its target; the classes after it would then get other numbers.
TEST(ImageFolder, LinksAreFollowedAndLostOnesRefused) {
  TempFolder folder, elsewhere;
  write_file(elsewhere.path("x.png"), pixel_image(1));
  write_file(folder.path("c/y.png"), pixel_image(2));
  std::filesystem::create_directory_symlink(elsewhere.path(), folder.path("a"));
  EXPECT_THAT(open(folder)->labels(), ElementsAre("a", "c"));
  EXPECT_EQ(open(folder)->size(), 2);
  std::filesystem::create_symlink(folder.path("gone"), folder.path("b"));
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {folder.path("b").c_str(), "a link to nothing"});
}

TEST(ImageFolder, NumbersOutOfOrderAreWarnedOf) {
  TempFolder folder;
  for (const char* name : {"1", "2", "10"}) write_file(folder.path(std::string(name) + "/x.png"), pixel_image(1));
  testing::internal::CaptureStderr();
  EXPECT_THAT(open(folder)->labels(), ElementsAre("1", "10", "2"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("class 2 is the folder 2"));
  TempFolder even;
  for (const char* name : {"01", "02", "10"}) write_file(even.path(std::string(name) + "/x.png"), pixel_image(1));
  const int64_t warnings = warnings_so_far();
  (void)open(even);
  EXPECT_EQ(warnings_so_far(), warnings);
}

/// stb_image decodes most files with a flipped bit into other pixels.
TEST(ImageFolder, APngWithAnyFlippedBitIsRefused) {
  const Bytes whole = pixel_image(7);
  for (size_t byte = 0; byte < whole.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes broken = whole;
      broken[byte] = static_cast<uint8_t>(broken[byte] ^ (1 << bit));
      std::vector<uint8_t> pixels(static_cast<size_t>(kShape.elements()));
      EXPECT_THROW(decode_image(broken, kShape, pixels, "x.png"), InputError) << "byte " << byte << ", bit " << bit;
    }
  }
}

/// A header of a JPEG with this many components, and perhaps Adobe's segment; no image data.
Bytes jpeg_header(uint8_t components, bool adobe) {
  Bytes jpeg{0xff, 0xd8};
  if (adobe) jpeg.insert(jpeg.end(), {0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 2});
  jpeg.insert(jpeg.end(), {0xff, 0xc0, 0, static_cast<uint8_t>(8 + 3 * components), 8, 0, 2, 0, 2, components});
  for (uint8_t c = 1; c <= components; ++c) jpeg.insert(jpeg.end(), {c, 0x11, 0});
  jpeg.insert(jpeg.end(), {0xff, 0xd9});
  return jpeg;
}

/// stb_image takes these as colour with a fourth plane. Pillow takes them as inks, and so does libjpeg-turbo here.
TEST(ImageFolder, StbImageRefusesAJpegOfFourComponentsThatDoesNotSayWhatTheyAre) {
  std::vector<uint8_t> pixels(static_cast<size_t>(kShape.elements()));
  const auto error_of = [&](const Bytes& jpeg) {
    try {
      decode_image(jpeg, kShape, pixels, "x.jpg");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  if (jpeg_decoder() == "stb_image") {
    EXPECT_THAT(error_of(jpeg_header(4, false)), HasSubstr("four components without Adobe's segment"));
  }
  // These go on to the image data, which are missing; what the decoder makes of that does not matter here.
  EXPECT_THAT(error_of(jpeg_header(4, true)), Not(HasSubstr("four components")));
  EXPECT_THAT(error_of(jpeg_header(3, false)), Not(HasSubstr("four components")));
}

TEST(ImageFolder, UselessFoldersSayWhatToDo) {
  TempFolder folder;
  const auto act = [&] { static_cast<void>(open(folder)); };
  expect_error<InputError>(act, {folder.path().c_str(), "no class folders", "it is empty", "their own folder"});
  try {
    act();
  } catch (const InputError& error) {
    EXPECT_EQ(hint_of(error), Hint::kSingleImages);
  }
  write_file(folder.path("x.png"), pixel_image(1));
  EXPECT_EQ(open(folder)->classes(), 0) << "images without labels";
  write_file(folder.path("cats/deeper/x.png"), pixel_image(1));
  expect_error<InputError>(act, {"1 folders, but no .jpg, .jpeg or .png", "put the images of each class there"});
  expect_error<InputError>([&] { static_cast<void>(parse_data("images:" + folder.path("none"), kShape)); },
                           {"none", "no such"});
  expect_error<InputError>([&] { static_cast<void>(parse_data("images:" + folder.path("x.png"), kShape)); }, {"x.png"});
}

TEST(ImageFolder, BrokenFilesAreNamedWithTheReason) {
  TempFolder folder;
  write_file(folder.path("a/1.jpg"), "This is text, whatever its name says.\n");
  write_file(folder.path("a/2.png"), "");
  write_file(folder.path("a/3.png"), pixel_image(1));
  const auto data = open(folder);
  ASSERT_EQ(data->size(), 3);  // nothing is skipped
  expect_error<InputError>([&] { static_cast<void>(decode(*data, 0, kShape)); },
                           {folder.path("a/1.jpg").c_str(), "stb_image: ", "expected a JPEG or PNG"});
  expect_error<InputError>([&] { static_cast<void>(decode(*data, 1, kShape)); },
                           {folder.path("a/2.png").c_str(), "stb_image: "});
  EXPECT_NO_THROW(static_cast<void>(decode(*data, 2, kShape)));
  std::filesystem::remove(folder.path("a/3.png"));
  expect_error<InputError>([&] { static_cast<void>(decode(*data, 2, kShape)); }, {"a/3.png", "cannot be opened"});
  std::filesystem::create_symlink(folder.path("gone"), folder.path("a/4.png"));
  expect_error<InputError>([&] { static_cast<void>(decode(*open(folder), 2, kShape)); }, {"a/4.png", "cannot be opened"});
}

TEST(ImageFiles, HaveNoLabels) {
  TempFolder folder;
  write_file(folder.path("b.png"), pixel_image(7));
  write_file(folder.path("a.png"), pixel_image(8));
  const auto data = image_files({folder.path("b.png"), folder.path("a.png")});
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->classes(), 0);
  EXPECT_EQ(data->label(0), -1);
  EXPECT_EQ(decode(*data, 0, kShape)[0], 7);  // in the order given
  expect_error<InputError>([&] { static_cast<void>(image_files({folder.path("c.png")})); }, {"c.png", "no such file"});
  expect_error<InputError>([&] { static_cast<void>(image_files({folder.path()})); }, {"images:DIR"});
  EXPECT_THROW(static_cast<void>(image_files({})), UsageError);
}

}  // namespace
}  // namespace elek::test
