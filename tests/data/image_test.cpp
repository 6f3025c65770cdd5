// SPDX-License-Identifier: Apache-2.0
// Resize, crop, channels and codecs, compared with Pillow and torchvision (tests/fixtures/scripts/make_resize.py) and with
// values computed by hand.
#include "data/image.h"

#include <algorithm>
#include <cstdlib>

#include "tests/data/files.h"

namespace elek::test {
namespace {

std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/resize/" + name; }

Bytes load(const std::string& name, const ImageShape& shape) { return decode(*image_files({fixture(name)}), 0, shape); }

struct ResizeCase {
  const char* name;
  ImageShape shape;
};

class Resize : public ::testing::TestWithParam<ResizeCase> {};

// Tolerance 0: the same fixed-point arithmetic gives the same bits. A filter without antialiasing, a window that is off by one
// and an intermediate value of another precision would all show.
TEST_P(Resize, IsPillowsToTheBit) {
  const auto& [name, shape] = GetParam();
  const std::string size = "." + std::to_string(shape.height) + "x" + std::to_string(shape.width) + ".png";
  const Bytes want = load(name + size, shape);  // of the input's size: passes as it is
  const Bytes got = load(std::string(name) + ".png", shape);
  const auto [least, most] = std::minmax_element(want.begin(), want.end());
  ASSERT_GT(*most - *least, 50) << "the fixture is no picture";
  EXPECT_EQ(got, want);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Resize,
                         ::testing::Values(ResizeCase{"colour", {3, 28, 28}}, ResizeCase{"colour", {3, 24, 40}},
                                           ResizeCase{"colour", {3, 8, 8}}, ResizeCase{"grey", {1, 28, 28}},
                                           ResizeCase{"grey", {1, 9, 9}}, ResizeCase{"tiny", {3, 32, 32}},
                                           ResizeCase{"tiny", {3, 24, 24}}, ResizeCase{"large", {3, 56, 56}},
                                           ResizeCase{"large", {3, 23, 23}}));

TEST(Image, ShorterSideIsTheInputsOver0875) {
  const auto expect = [](const ImageShape& image, const ImageShape& input, int64_t height, int64_t width) {
    const ResizedSize size = resized_size(image, input);
    EXPECT_EQ(size.height, height) << to_string(image);
    EXPECT_EQ(size.width, width) << to_string(image);
  };
  expect({3, 375, 500}, {3, 224, 224}, 256, 341);  // 256 * 500 / 375 = 341.3
  expect({3, 500, 375}, {3, 224, 224}, 341, 256);
  expect({3, 10, 10}, {3, 32, 32}, 37, 37);   // 36.57
  expect({3, 10, 10}, {3, 28, 28}, 32, 32);   // exact
  expect({3, 100, 100}, {3, 7, 14}, 16, 16);  // the wider side decides
}

// 4x4 to 2x2 of a 2x2 (input 2, so the resized side is 2.29, rounded 2): scale 2, t has support 2, weights 1 3 3 1 (at the edge
// 3 3 1), so out(0) = (3 a + 3 b + c) / 7.
TEST(Image, AveragesOverTheFilterWhenShrinking) {
  const Bytes row{0, 70, 140, 210};
  Bytes image;
  for (int y = 0; y < 4; ++y) image.insert(image.end(), row.begin(), row.end());
  Bytes out(4);
  fit_image({image.data(), {1, 4, 4}}, {1, 2, 2}, out, "");
  EXPECT_EQ(out, (Bytes{50, 160, 50, 160}));  // (3*0 + 3*70 + 140) / 7 = 50, (70 + 3*140 + 3*210) / 7 = 160
}

TEST(Image, OfTheInputsSizePassesAsItIs) {
  const Bytes image = ramp(5 * 4 * 3);
  Bytes out(image.size());
  fit_image({image.data(), {3, 5, 4}}, {3, 5, 4}, out, "");
  EXPECT_EQ(out, image);
}

TEST(Image, ChannelsAreWidenedNarrowedOrRefused) {
  const Bytes grey{10, 20, 30, 40, 50, 60};
  Bytes wide(18);
  fit_image({grey.data(), {1, 2, 3}}, {3, 2, 3}, wide, "");
  EXPECT_EQ(wide, (Bytes{10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40, 50, 50, 50, 60, 60, 60}));
  const Bytes colour{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
  Bytes luma(4);
  Bytes four(24);
  fit_image({colour.data(), {3, 2, 2}}, {1, 2, 2}, luma, "");
  EXPECT_EQ(luma, (Bytes{76, 150, 29, 255}));  // 255 * 0.299 = 76.2, 255 * 0.587 = 149.7, 255 * 0.114 = 29.1
  expect_error<InputError>(
      [&] {
        fit_image({grey.data(), {1, 2, 3}}, {4, 2, 3}, four, "photo.png");
      },
      {"photo.png", "1 channels", "has 4"});
  EXPECT_THROW(fit_image({grey.data(), {1, 2, 3}}, {1, 2, 3}, wide, ""), ContractError);  // room of another size
}

TEST(Image, WideningResizedGreyEqualsResizingWidenedGrey) {
  const Bytes grey = ramp(19 * 23);
  Bytes colour;
  for (const uint8_t value : grey) colour.insert(colour.end(), 3, value);
  const ImageShape input{3, 8, 8};
  Bytes a(192);
  Bytes b(192);
  fit_image({grey.data(), {1, 19, 23}}, input, a, "");
  fit_image({colour.data(), {3, 19, 23}}, input, b, "");
  EXPECT_EQ(a, b);
}

// The longest image that may be decoded: only the kept window may be computed, because the whole would be 2^27 * 32 rows.
TEST(Image, ExtremeProportionsCostOnlyTheWindow) {
  const Bytes strip(1 << 20, 77);
  Bytes out(28 * 28);
  fit_image({strip.data(), {1, 1 << 20, 1}}, {1, 28, 28}, out, "");
  EXPECT_THAT(out, ::testing::Each(77));
  fit_image({strip.data(), {1, 1, 1 << 20}}, {1, 28, 28}, out, "");
  EXPECT_THAT(out, ::testing::Each(77));
}

TEST(Codec, PngIsExactAndAlphaDropped) {
  Bytes pixels(3 * 2 * 4);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(10 * i);
  Bytes out(18);
  decode_image(png(3, 2, 4, pixels), {3, 2, 3}, out, "");
  EXPECT_EQ(out, (Bytes{0, 10, 20, 40, 50, 60, 80, 90, 100, 120, 130, 140, 160, 170, 180, 200, 210, 220}));
  Bytes all(24);
  decode_image(png(3, 2, 4, pixels), {4, 2, 3}, all, "");  // a network of four channels takes four
  EXPECT_EQ(all, pixels);
  expect_error<InputError>([&] { decode_image(png(2, 3, 3, pixels), {4, 2, 3}, all, "x.png"); }, {"x.png", "3 channels", "4"});
}

// With libjpeg-turbo the pixels are Pillow's (tests/data/jpeg_test.cpp). stb_image rounds differently: the inverse DCT within
// 1, then YCbCr to RGB (largest factor 1.772) and the interpolation of halved colour. 4 levels at most, and under 1 on average,
// tell apart "another rounding" and "another image".
TEST(Codec, JpegIsLibjpegsWithinRounding) {
  const ImageShape shape{3, 48, 40};
  const Bytes got = load("colour.jpg", shape);
  const Bytes want = load("colour.jpg.png", shape);
  int64_t sum = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const int difference = std::abs(int{got[i]} - int{want[i]});
    ASSERT_LE(difference, jpeg_decoder() == "stb_image" ? 4 : 0) << "byte " << i;
    sum += difference;
  }
  EXPECT_LT(static_cast<double>(sum) / static_cast<double>(want.size()), 1.0);
}

// stb_image reads zeros beyond the end. Whether it then reports success depends on its version, so that is not tested.
TEST(Codec, EveryTruncatedJpegIsRefused) {
  const Bytes whole = read_all(fixture("colour.jpg"));
  const ImageShape shape{3, 48, 40};
  Bytes out(static_cast<size_t>(shape.elements()));
  EXPECT_NO_THROW(decode_image(whole, shape, out, ""));
  for (size_t size = 0; size < whole.size(); ++size) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    expect_error<InputError>([&] { decode_image(part, shape, out, "cut.jpg"); },
                             {"cut.jpg: ", size > whole.size() / 2 ? "end-of-image" : ""});
  }
}

TEST(Codec, EveryTruncatedPngIsRefused) {
  const Bytes whole = png(9, 7, 3, ramp(189));
  Bytes out(189);
  EXPECT_NO_THROW(decode_image(whole, {3, 7, 9}, out, ""));
  for (size_t size = 0; size + 12 < whole.size(); ++size) {  // the last 12 bytes are the end chunk
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    expect_error<InputError>([&] { decode_image(part, {3, 7, 9}, out, "cut.png"); }, {"cut.png: "});
  }
}

// A header may claim any size: the size is checked before anything else is read.
TEST(Codec, HugeImagesAreRefused) {
  Bytes file = png(1, 1, 3, {1, 2, 3});
  const auto put = [&file](size_t at, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) file[at++] = static_cast<uint8_t>(value >> shift);
  };
  put(16, 16000);  // width and height follow signature, length and name of the first chunk
  put(20, 16000);
  Bytes out(3);
  expect_error<InputError>(
      [&] {
        decode_image(file, {3, 1, 1}, out, "huge.png");
      },
      {"huge.png", "16000x16000", "134217728", "scale it down"});
}

}  // namespace
}  // namespace elek::test
