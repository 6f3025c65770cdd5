// SPDX-License-Identifier: Apache-2.0
// IDX: the contents of correct files, and the message for each kind of broken file.
#include "data/idx.h"

#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;

const ImageShape kSmall{1, 2, 3};

// Five grey 2x3 images and their labels, in files named as MNIST's.
void write_set(const TempFolder& folder, const std::string& prefix, const Bytes& labels) {
  write_file(folder.path(prefix + "-images-idx3-ubyte"),
             idx({static_cast<uint32_t>(labels.size()), 2, 3}, ramp(6 * labels.size())));
  write_file(folder.path(prefix + "-labels-idx1-ubyte"), idx({static_cast<uint32_t>(labels.size())}, labels));
}

std::shared_ptr<const Dataset> open(const TempFolder& folder, const std::string& split = {}) {
  return parse_data("idx:" + folder.path() + split, kSmall);
}

TEST(Idx, ReadsImagesAndLabels) {
  TempFolder folder;
  write_set(folder, "t10k", {4, 0, 7, 255, 1});
  const auto data = open(folder);
  ASSERT_EQ(data->size(), 5);
  EXPECT_EQ(data->classes(), 256);  // the largest label + 1
  EXPECT_TRUE(data->labels().empty());
  EXPECT_EQ(data->label(0), 4);
  EXPECT_EQ(data->label(3), 255);
  EXPECT_EQ(decode(*data, 0, kSmall), ramp(6));
  EXPECT_EQ(decode(*data, 4, kSmall), ramp(6, 24));
  EXPECT_EQ(data->name(3), folder.path("t10k-images-idx3-ubyte") + ", image 3");
  EXPECT_EQ(data->content_hash(2), open(folder)->content_hash(2));
  EXPECT_NE(data->content_hash(2), data->content_hash(3));
  EXPECT_THROW(static_cast<void>(decode(*data, 5, kSmall)), ContractError);
  EXPECT_THROW(static_cast<void>(decode(*data, -1, kSmall)), ContractError);
}

TEST(Idx, TestIsTheDefaultSplit) {
  TempFolder folder;
  write_set(folder, "t10k", {1, 2});
  write_set(folder, "train", {3, 4, 5});
  EXPECT_EQ(open(folder)->size(), 2);
  EXPECT_EQ(open(folder, ":test")->size(), 2);
  EXPECT_EQ(open(folder, ":train")->size(), 3);
  EXPECT_EQ(open(folder, ":train")->label(0), 3);
}

TEST(Idx, GzipOrPlainIsTheContentsBusiness) {
  TempFolder folder;
  const Bytes images = idx({2, 2, 3}, ramp(12));
  const Bytes labels = idx({2}, {1, 0});
  write_file(folder.path("t10k-images-idx3-ubyte.gz"), gzip(images));
  write_file(folder.path("t10k-labels-idx1-ubyte.gz"), labels);  // someone unpacked it and kept the name
  EXPECT_EQ(decode(*open(folder), 1, kSmall), ramp(6, 6));
  // A stream of several members is one file.
  Bytes members = gzip(Bytes(images.begin(), images.begin() + 20));
  const Bytes rest = gzip(Bytes(images.begin() + 20, images.end()));
  members.insert(members.end(), rest.begin(), rest.end());
  write_file(folder.path("t10k-images-idx3-ubyte.gz"), members);
  EXPECT_EQ(decode(*open(folder), 1, kSmall), ramp(6, 6));
  // The plain file goes before the packed one, and the family's other spelling is known.
  write_file(folder.path("t10k-images.idx3-ubyte"), idx({2, 2, 3}, ramp(12, 100)));
  std::filesystem::remove(folder.path("t10k-images-idx3-ubyte.gz"));
  EXPECT_EQ(decode(*open(folder), 1, kSmall), ramp(6, 106));
  write_file(folder.path("t10k-images-idx3-ubyte"), idx({2, 2, 3}, ramp(12, 50)));
  EXPECT_EQ(decode(*open(folder), 1, kSmall), ramp(6, 56));
}

TEST(Idx, FourDimensionsAreChannelsLast) {
  TempFolder folder;
  write_file(folder.path("t10k-images-idx4-ubyte"), idx({2, 4, 5, 3}, ramp(120)));
  write_file(folder.path("t10k-labels-idx1-ubyte"), idx({2}, {0, 1}));
  EXPECT_EQ(decode(*open(folder), 1, {3, 4, 5}), ramp(60, 60));
  write_file(folder.path("t10k-images-idx4-ubyte"), idx({2, 3, 4, 5}, ramp(120)));
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"idx4", "[2, 3, 4, 5]", "C = 1 or 3", "channels last"});
}

TEST(Idx, ClassNamesComeFromLabelsTxt) {
  TempFolder folder;
  write_set(folder, "t10k", {2, 0});
  write_file(folder.path("labels.txt"), "shirt\r\nshoe\nbag\nhat\n\n");
  EXPECT_THAT(open(folder)->labels(), ElementsAre("shirt", "shoe", "bag", "hat"));
  EXPECT_EQ(open(folder)->classes(), 4);
  write_file(folder.path("labels.txt"), "shirt\nshoe\n");
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"label 2", "only 2 classes"});
  write_file(folder.path("labels.txt"), "\n");
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"labels.txt", "one per line"});
}

TEST(Idx, MissingFilesAreNamed) {
  TempFolder folder;
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"t10k-images-idx3-ubyte[.gz]", folder.path().c_str()});
  write_file(folder.path("t10k-images-idx3-ubyte"), idx({1, 2, 3}, ramp(6)));
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"t10k-labels-idx1-ubyte[.gz]"});
  std::filesystem::create_directory(folder.path("t10k-labels-idx1-ubyte"));
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"t10k-labels-idx1-ubyte", "not a regular file"});
  expect_error<InputError>([&] { static_cast<void>(parse_data("idx:" + folder.path("nowhere"), kSmall)); },
                           {"nowhere", "no such"});
}

TEST(Idx, ImagesAndLabelsMustFitTogether) {
  const Bytes images = idx({2, 2, 3}, ramp(12));
  const auto make = [&](const Bytes& image_bytes, const Bytes& label_bytes) {
    static_cast<void>(make_idx_dataset({"images", image_bytes}, {"labels", label_bytes}, {}));
  };
  EXPECT_NO_THROW(make(images, idx({2}, {0, 1})));
  expect_error<InputError>([&] { make(images, idx({3}, {0, 1, 2})); }, {"labels: 3 labels", "images has 2"});
  expect_error<InputError>([&] { make(images, idx({2, 1}, {0, 1})); }, {"labels", "[2, 1]", "expected [N]"});
  expect_error<InputError>([&] { make(idx({12}, ramp(12)), idx({12}, ramp(12))); }, {"images", "[12]", "[N, H, W]"});
  expect_error<InputError>([&] { make(idx({1, 65536, 1}, Bytes(65536)), idx({1}, {0})); }, {"[1, 65536, 1]", "65535"});
}

TEST(Idx, BrokenHeadersAreToldApart) {
  const Bytes good = idx({2, 2, 3}, ramp(12));
  const auto parse = [](Bytes bytes) { static_cast<void>(parse_idx(bytes, "file.idx")); };
  EXPECT_THAT(parse_idx(good, "").dims, ElementsAre(2, 2, 3));
  expect_error<InputError>([&] { parse({}); }, {"file.idx", "0 bytes"});
  expect_error<InputError>([&] { parse({0, 0, 8}); }, {"3 bytes"});
  expect_error<InputError>([&] { parse({1, 0, 8, 1, 0, 0, 0, 1, 5}); }, {"not an IDX file"});
  expect_error<InputError>([&] { parse(idx({2}, ramp(8), 0x0d)); }, {"element type 13", "unsigned byte"});
  expect_error<InputError>([&] { parse(idx({}, {})); }, {"0 dimensions"});
  expect_error<InputError>([&] { parse(idx({1, 1, 1, 1, 1}, {7})); }, {"5 dimensions"});
  expect_error<InputError>([&] { parse(Bytes(good.begin(), good.begin() + 15)); }, {"header is truncated", "15 of 16"});
  expect_error<InputError>([&] { parse(idx({0, 2, 3}, {})); }, {"dimension 0 is 0"});
  expect_error<InputError>([&] { parse(idx({2, 2, 4}, ramp(12))); }, {"[2, 2, 4] need 16", "only 12", "truncated"});
  expect_error<InputError>([&] { parse(idx({2, 2, 3}, ramp(13))); }, {"has more", "follows the values"});
  // The product of these dimensions is 2^128: it must not wrap around to a small number.
  expect_error<InputError>([&] { parse(idx({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {1})); }, {"header is wrong"});
  expect_error<InputError>([&] { parse(idx({0x80000000, 0x80000000, 4, 1}, {})); }, {"header is wrong"});  // 2^64
}

// Cut after every byte: gzip's header, body and checksum, and the IDX header inside.
TEST(Idx, EveryTruncatedGzipIsRefused) {
  const Bytes packed = gzip(idx({20, 2, 3}, ramp(120)));
  ASSERT_EQ(unpack_idx(packed, "").size(), 136u);
  for (size_t size = 2; size < packed.size(); ++size) {
    const Bytes part(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
    expect_error<InputError>([&] { static_cast<void>(unpack_idx(part, "file.gz")); }, {"file.gz", "truncated"});
  }
}

TEST(Idx, CorruptGzipIsRefused) {
  const Bytes packed = gzip(idx({20, 2, 3}, ramp(120)));
  const auto unpack = [](const Bytes& bytes) { static_cast<void>(unpack_idx(bytes, "file.gz")); };
  Bytes wrong = packed;
  wrong[wrong.size() - 6] ^= 1;  // in the checksum
  expect_error<InputError>([&] { unpack(wrong); }, {"file.gz", "corrupt", "incorrect data check"});
  wrong = packed;
  wrong[2] = 9;  // no such method
  expect_error<InputError>([&] { unpack(wrong); }, {"corrupt", "method"});
  wrong = packed;
  wrong.push_back(0);
  expect_error<InputError>([&] { unpack(wrong); }, {"not gzip follows"});
  expect_error<InputError>([&] { unpack(gzip(ramp(3))); }, {"3 bytes are not an IDX file"});
}

// 64 MB of zeros compress to 64 KB. The header promises 6 bytes of values, so at most 7 bytes may be decompressed.
TEST(Idx, GzipBombsAreNotUnpacked) {
  Bytes bomb = idx({1, 2, 3}, {});
  bomb.resize(64 << 20);
  const Bytes packed = gzip(bomb);
  const Bytes unpacked = unpack_idx(packed, "bomb.gz");
  EXPECT_EQ(unpacked.size(), 16u + 6u + 1u);
  expect_error<InputError>([&] { static_cast<void>(parse_idx(unpacked, "bomb.gz")); }, {"has more"});
}

TEST(Idx, ShippedFashionMnistIsWhole) {
  const std::string folder = std::string(ELEK_SOURCE_DIR) + "/data/fashion-mnist";
  const ImageShape shape{1, 28, 28};
  const auto test = parse_data("idx:" + folder + ":test", shape);
  const auto train = parse_data("idx:" + folder + ":train", shape);
  EXPECT_EQ(test->size(), 10000);
  EXPECT_EQ(train->size(), 2048);
  EXPECT_EQ(test->classes(), 10);
  ASSERT_EQ(test->labels().size(), 10u);
  EXPECT_EQ(test->labels()[9], "Ankle boot");
  EXPECT_EQ(test->label(0), 9);  // known of the set: both begin with an ankle boot
  EXPECT_EQ(train->label(0), 9);
  std::vector<int64_t> per_class(10);
  for (int64_t i = 0; i < test->size(); ++i) ++per_class.at(static_cast<size_t>(test->label(i)));
  EXPECT_THAT(per_class, ::testing::Each(1000));  // the test set is balanced
  EXPECT_EQ(overlap(*train, *test), 0);           // so that calibration and evaluation never share an image
}

}  // namespace
}  // namespace elek::test
