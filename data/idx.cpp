// SPDX-License-Identifier: Apache-2.0
// IDX, the format of the MNIST family.
// Tests: tests/data/idx_test.cpp, tests/fuzz/idx_fuzz.cpp
#include "data/idx.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <new>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "data/file.h"
#include "data/packed.h"

namespace elek {
namespace {

constexpr uint8_t kUnsignedByte = 0x08;
constexpr size_t kMaxRank = 4;
constexpr size_t kMaxHeaderBytes = 4 + 4 * kMaxRank;
constexpr int64_t kMaxSide = 65535;              // a sample's height and width; keeps every product below in 64 bits
constexpr int64_t kMaxBytes = int64_t{1} << 40;  // 1 TiB: a larger set cannot be read into memory

struct Header {
  std::vector<int64_t> dims;
  size_t header_bytes = 0;
  int64_t value_bytes = 0;
};

std::string to_string(std::span<const int64_t> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

Header parse_header(std::span<const uint8_t> bytes, const std::string& where) {
  if (bytes.size() < 4) {
    throw InputError(where + ": " + std::to_string(bytes.size()) + " bytes are not an IDX file; its header has at least 8");
  }
  if (bytes[0] != 0 || bytes[1] != 0) throw InputError(where + ": not an IDX file (it must begin with two zero bytes)");
  if (bytes[2] != kUnsignedByte) {
    throw InputError(where + ": IDX element type " + std::to_string(bytes[2]) + "; expected 8 (unsigned byte)");
  }
  const size_t rank = bytes[3];
  if (rank < 1 || rank > kMaxRank) {
    throw InputError(where + ": IDX with " + std::to_string(rank) + " dimensions; expected 1 to 4");
  }
  Header header;
  header.header_bytes = 4 + 4 * rank;
  if (bytes.size() < header.header_bytes) {
    throw InputError(where + ": the IDX header is truncated: " + std::to_string(bytes.size()) + " of " +
                     std::to_string(header.header_bytes) + " bytes");
  }
  header.value_bytes = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    const uint8_t* p = bytes.data() + 4 + 4 * axis;
    const int64_t dim = int64_t{p[0]} << 24 | int64_t{p[1]} << 16 | int64_t{p[2]} << 8 | int64_t{p[3]};
    header.dims.push_back(dim);
    if (dim == 0) throw InputError(where + ": IDX dimension " + std::to_string(axis) + " is 0: it holds no samples");
    if (header.value_bytes > kMaxBytes / dim) {
      throw InputError(where + ": IDX dimensions " + to_string(header.dims) + " need more than " + std::to_string(kMaxBytes) +
                       " bytes; the header is wrong");
    }
    header.value_bytes *= dim;
  }
  return header;
}

// The label file and the image file, each under the names that the family uses.
std::string find_file(const std::string& directory, const std::string& prefix, std::span<const std::string> kinds) {
  const std::filesystem::path folder(directory);
  std::string tried;
  for (const std::string& kind : kinds) {
    for (const char* separator : {"-", "."}) {
      for (const char* suffix : {"", ".gz"}) {
        std::string path = (folder / (prefix + separator + kind + "-ubyte" + suffix)).string();
        std::error_code code;
        if (std::filesystem::exists(path, code)) return path;
      }
    }
    tried += (tried.empty() ? "" : " nor ") + prefix + "-" + kind + "-ubyte[.gz]";
  }
  throw InputError(directory + ": neither " + tried + " exists; expected a folder with files named like those of MNIST");
}

ImageShape sample_shape(std::span<const int64_t> dims, const std::string& where) {
  if (dims.size() != 3 && dims.size() != 4) {
    throw InputError(where + ": images of dimensions " + to_string(dims) + "; expected [N, H, W] or [N, H, W, C]");
  }
  const ImageShape shape{dims.size() == 4 ? dims[3] : 1, dims[1], dims[2]};
  if (shape.channels != 1 && shape.channels != 3) {
    throw InputError(where + ": images of dimensions " + to_string(dims) +
                     "; expected [N, H, W, C] with C = 1 or 3 (channels last)");
  }
  if (shape.height > kMaxSide || shape.width > kMaxSide) {
    throw InputError(where + ": images of dimensions " + to_string(dims) + "; expected sides of at most " +
                     std::to_string(kMaxSide) + " pixels");
  }
  return shape;
}

}  // namespace

IdxView parse_idx(std::span<const uint8_t> bytes, const std::string& where) {
  Header header = parse_header(bytes, where);
  const std::span<const uint8_t> values = bytes.subspan(header.header_bytes);
  if (values.size() != static_cast<size_t>(header.value_bytes)) {
    const bool truncated = values.size() < static_cast<size_t>(header.value_bytes);
    throw InputError(where + ": IDX dimensions " + to_string(header.dims) + " need " + std::to_string(header.value_bytes) +
                     " bytes, the file has " + (truncated ? "only " + std::to_string(values.size()) : "more") +
                     (truncated ? ": it is truncated" : ": something follows the values"));
  }
  return {std::move(header.dims), values};
}

std::vector<uint8_t> unpack_idx(std::vector<uint8_t> bytes, const std::string& where) {
  if (!is_gzip(bytes)) return bytes;
  const Header header = parse_header(gunzip(bytes, kMaxHeaderBytes, where), where);
  const size_t promised = header.header_bytes + static_cast<size_t>(header.value_bytes);
  try {
    return gunzip(bytes, promised + 1, where);  // one more byte, to detect data beyond the header's size
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(where + ": no memory to unpack it", {.requested_bytes = promised});
  }
}

std::shared_ptr<const Dataset> make_idx_dataset(IdxFile images, IdxFile labels, std::vector<std::string> class_names) {
  PackedSamples samples;
  samples.bytes = unpack_idx(std::move(images.bytes), images.name);
  const IdxView pixels = parse_idx(samples.bytes, images.name);
  samples.shape = sample_shape(pixels.dims, images.name);
  samples.count = pixels.dims[0];
  samples.offset = samples.bytes.size() - pixels.values.size();
  const std::vector<uint8_t> label_bytes = unpack_idx(std::move(labels.bytes), labels.name);
  const IdxView values = parse_idx(label_bytes, labels.name);
  if (values.dims.size() != 1) {
    throw InputError(labels.name + ": labels of dimensions " + to_string(values.dims) + "; expected [N]");
  }
  if (values.dims[0] != samples.count) {
    throw InputError(labels.name + ": " + std::to_string(values.dims[0]) + " labels, but " + images.name + " has " +
                     std::to_string(samples.count) + " images");
  }
  samples.labels.assign(values.values.begin(), values.values.end());
  const int64_t largest = *std::max_element(samples.labels.begin(), samples.labels.end());
  samples.classes = class_names.empty() ? largest + 1 : static_cast<int64_t>(class_names.size());
  if (largest >= samples.classes) {
    throw InputError(labels.name + ": label " + std::to_string(largest) + ", but labels.txt names only " +
                     std::to_string(samples.classes) + " classes; add the missing names or remove labels.txt");
  }
  samples.class_names = std::move(class_names);
  samples.parts = {{images.name, 0}};
  return make_packed(std::move(samples));
}

std::shared_ptr<const Dataset> open_idx(const std::string& directory, const std::string& split) {
  std::error_code code;
  if (!std::filesystem::is_directory(directory, code)) {
    throw InputError(directory + ": no such folder; idx: reads a folder with files named like those of MNIST");
  }
  const std::string prefix = split == "train" ? "train" : "t10k";
  const std::vector<std::string> image_kinds{"idx3", "idx4"};
  const std::vector<std::string> label_kinds{"idx1"};
  IdxFile images{find_file(directory, prefix + "-images", image_kinds), {}};
  IdxFile labels{find_file(directory, prefix + "-labels", label_kinds), {}};
  images.bytes = read_whole_file(images.name);
  labels.bytes = read_whole_file(labels.name);
  const std::string names = (std::filesystem::path(directory) / "labels.txt").string();
  std::vector<std::string> class_names;
  if (std::filesystem::exists(names, code)) {
    class_names = read_lines(names);
    if (class_names.empty()) throw InputError(names + ": no class names; expected one per line");
  }
  return make_idx_dataset(std::move(images), std::move(labels), std::move(class_names));
}

}  // namespace elek
