// SPDX-License-Identifier: Apache-2.0
// CIFAR-10's binary version: planes become channels last, several files follow one another, broken files are refused with
// different messages.
#include "tests/data/files.h"

namespace elek::test {
namespace {

const ImageShape kShape{3, 32, 32};

// A record whose pixel values show plane and place: r = p, g = p + 1, b = p + 2 (mod 251), offset by `mark`.
Bytes record(uint8_t label, size_t mark) {
  Bytes bytes{label};
  for (size_t plane = 0; plane < 3; ++plane) {
    const Bytes values = ramp(1024, plane + mark);
    bytes.insert(bytes.end(), values.begin(), values.end());
  }
  return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::shared_ptr<const Dataset> open(const TempFolder& folder, const std::string& split = {}) {
  return parse_data("cifar10:" + folder.path() + split, kShape);
}

TEST(Cifar, PlanesBecomeChannelsLast) {
  TempFolder folder;
  write_file(folder.path("test_batch.bin"), record(3, 0) + record(9, 40));
  const auto data = open(folder);
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->classes(), 10);
  EXPECT_TRUE(data->labels().empty());
  EXPECT_EQ(data->label(0), 3);
  EXPECT_EQ(data->label(1), 9);
  const Bytes pixels = decode(*data, 1, kShape);
  for (size_t p = 0; p < 1024; ++p) {
    for (size_t c = 0; c < 3; ++c) ASSERT_EQ(pixels[3 * p + c], (p + c + 40) % 251) << "pixel " << p << " channel " << c;
  }
}

TEST(Cifar, TrainIsFiveFilesInOrder) {
  TempFolder folder;
  for (int i = 1; i <= 5; ++i) {
    const std::string path = folder.path("data_batch_" + std::to_string(i) + ".bin");
    expect_error<InputError>([&] { static_cast<void>(open(folder, ":train")); }, {path.c_str(), "cannot be opened"});
    write_file(path, record(static_cast<uint8_t>(i), 0) + record(0, static_cast<size_t>(i)));
  }
  write_file(folder.path("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  const auto data = open(folder, ":train");
  ASSERT_EQ(data->size(), 10);
  EXPECT_EQ(data->labels()[9], "j");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(data->label(2 * i), i + 1);
  EXPECT_EQ(data->name(7), folder.path("data_batch_4.bin") + ", image 1");
  EXPECT_EQ(decode(*data, 7, kShape)[0], 4);
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"test_batch.bin"});
}

TEST(Cifar, BrokenFilesAreToldApart) {
  TempFolder folder;
  const std::string path = folder.path("test_batch.bin");
  const auto expect = [&](const Bytes& bytes, std::initializer_list<const char*> parts) {
    write_file(path, bytes);
    expect_error<InputError>([&] { static_cast<void>(open(folder)); }, parts);
  };
  expect({}, {"test_batch.bin", "0 bytes", "3073"});
  expect(ramp(3072), {"test_batch.bin", "3072 bytes", "3073"});
  expect(record(1, 0) + ramp(5), {"3078 bytes"});
  expect(record(1, 0) + record(10, 0), {"test_batch.bin, image 1", "label 10", "0 to 9"});
  write_file(path, record(1, 0));
  write_file(folder.path("batches.meta.txt"), "a\nb\n");
  expect_error<InputError>([&] { static_cast<void>(open(folder)); }, {"batches.meta.txt", "2 class names"});
  expect_error<InputError>([&] { static_cast<void>(parse_data("cifar10:" + folder.path("none"), kShape)); },
                           {"none", "no such"});
}

}  // namespace
}  // namespace elek::test
