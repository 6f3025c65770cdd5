// SPDX-License-Identifier: Apache-2.0
// Writers of small files for the tests of data/.
#include "tests/data/files.h"

#include <stdlib.h>
#include <zlib.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

namespace elek::test {

namespace fs = std::filesystem;

TempFolder::TempFolder() : path_((fs::temp_directory_path() / "elek-test-XXXXXX").string()) {
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_file(const std::string& path, const Bytes& bytes) { write_file(path, std::string(bytes.begin(), bytes.end())); }

void write_file(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

Bytes read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::runtime_error("deflateInit2");
  Bytes out(deflateBound(&stream, static_cast<uLong>(bytes.size())));
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (status != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

Bytes idx(const std::vector<uint32_t>& dims, const Bytes& values, uint8_t type) {
  Bytes bytes{0, 0, type, static_cast<uint8_t>(dims.size())};
  for (const uint32_t dim : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(dim >> shift));
  }
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

Bytes png(int width, int height, int channels, const Bytes& pixels) {
  Bytes out;
  const auto append = [](void* context, void* data, int size) {
    const auto* begin = static_cast<const uint8_t*>(data);
    static_cast<Bytes*>(context)->insert(static_cast<Bytes*>(context)->end(), begin, begin + size);
  };
  if (stbi_write_png_to_func(append, &out, width, height, channels, pixels.data(), width * channels) == 0) {
    throw std::runtime_error("stbi_write_png_to_func");
  }
  return out;
}

Bytes ramp(size_t count, size_t start) {
  Bytes bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>((start + i) % 251);
  return bytes;
}

Bytes decode(const Dataset& data, int64_t index, const ImageShape& shape) {
  Bytes pixels(static_cast<size_t>(shape.elements()));
  data.decode(index, shape, pixels);
  return pixels;
}

}  // namespace elek::test
