// SPDX-License-Identifier: Apache-2.0
// CIFAR-10's binary version, converted to channels last while it is read.
// Tests: tests/data/cifar_test.cpp
#include "data/cifar.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "data/file.h"
#include "data/packed.h"

namespace elek {
namespace {

constexpr size_t kClasses = 10;
constexpr size_t kSide = 32;
constexpr size_t kPlane = kSide * kSide;
constexpr size_t kRecordBytes = 1 + 3 * kPlane;

void append_file(const std::string& path, PackedSamples& samples) {
  const std::vector<uint8_t> bytes = read_whole_file(path);
  if (bytes.empty() || bytes.size() % kRecordBytes != 0) {
    throw InputError(path + ": " + std::to_string(bytes.size()) + " bytes; expected a whole number of CIFAR-10 records of " +
                     std::to_string(kRecordBytes) + " bytes (is it the binary version, and complete?)");
  }
  samples.parts.push_back({path, samples.count});
  const size_t records = bytes.size() / kRecordBytes;
  samples.bytes.reserve(samples.bytes.size() + records * 3 * kPlane);
  for (size_t record = 0; record < records; ++record) {
    const uint8_t* source = bytes.data() + record * kRecordBytes;
    if (source[0] >= kClasses) {
      throw InputError(path + ", image " + std::to_string(record) + ": label " + std::to_string(source[0]) +
                       "; expected 0 to 9 (CIFAR-100 is not CIFAR-10)");
    }
    samples.labels.push_back(source[0]);
    for (size_t pixel = 0; pixel < kPlane; ++pixel) {
      for (size_t channel = 0; channel < 3; ++channel) samples.bytes.push_back(source[1 + channel * kPlane + pixel]);
    }
  }
  samples.count += static_cast<int64_t>(records);
}

}  // namespace

std::shared_ptr<const Dataset> open_cifar10(const std::string& directory, const std::string& split) {
  const std::filesystem::path folder(directory);
  std::error_code code;
  if (!std::filesystem::is_directory(folder, code)) {
    throw InputError(directory +
                     ": no such folder; cifar10: reads the folder cifar-10-batches-bin of CIFAR-10's binary version");
  }
  PackedSamples samples;
  samples.shape = {3, kSide, kSide};
  samples.classes = kClasses;
  if (split == "test") {
    append_file((folder / "test_batch.bin").string(), samples);
  } else {
    for (int batch = 1; batch <= 5; ++batch) {
      append_file((folder / ("data_batch_" + std::to_string(batch) + ".bin")).string(), samples);
    }
  }
  const std::string names = (folder / "batches.meta.txt").string();
  if (std::filesystem::exists(names, code)) {
    samples.class_names = read_lines(names);
    if (samples.class_names.size() != kClasses) {
      throw InputError(names + ": " + std::to_string(samples.class_names.size()) + " class names; expected 10, one per line");
    }
  }
  return make_packed(std::move(samples));
}

}  // namespace elek
