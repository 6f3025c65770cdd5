// SPDX-License-Identifier: Apache-2.0
// Lines of text files, and gzip through zlib.
// Tests: tests/data/idx_test.cpp, tests/fuzz/idx_fuzz.cpp
#include "data/file.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/file.h"

namespace elek {
namespace {

// Calls inflateEnd on every way out, also when an exception is thrown.
class Inflater {
 public:
  explicit Inflater(const std::string& where) {
    constexpr int kGzipOnly = 15 + 16;  // the largest window; +16 = a gzip header, not a zlib one
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw InputError(where + ": zlib could not be started");
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }
  z_stream& stream() noexcept { return stream_; }

 private:
  z_stream stream_{};
};

[[noreturn]] void throw_broken(const std::string& where, const std::string& what, size_t packed, size_t unpacked) {
  throw InputError(where + ": " + what + " (" + std::to_string(packed) + " bytes of gzip gave " + std::to_string(unpacked) +
                   " bytes); copy or download the file again");
}

}  // namespace

std::vector<std::string> read_lines(const std::string& path) {
  const std::vector<uint8_t> bytes = read_whole_file(path);
  std::vector<std::string> lines(1);
  for (const uint8_t byte : bytes) {
    if (byte == '\n') {
      lines.emplace_back();
    } else if (byte != '\r') {
      lines.back().push_back(static_cast<char>(byte));
    }
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

bool is_gzip(std::span<const uint8_t> bytes) noexcept { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

std::vector<uint8_t> gunzip(std::span<const uint8_t> bytes, size_t at_most, const std::string& where) {
  constexpr size_t kStep = size_t{1} << 16;
  constexpr size_t kMaxFeed = std::numeric_limits<uInt>::max();  // zlib counts in 32 bits
  Inflater inflater(where);
  z_stream& stream = inflater.stream();
  std::vector<uint8_t> out;
  size_t fed = 0;     // bytes given to zlib, including those it has not read yet
  size_t filled = 0;  // bytes unpacked
  while (filled < at_most) {
    if (stream.avail_in == 0 && fed < bytes.size()) {
      const size_t feed = std::min(bytes.size() - fed, kMaxFeed);
      stream.next_in = const_cast<Bytef*>(bytes.data() + fed);  // zlib's interface predates const; it only reads
      stream.avail_in = static_cast<uInt>(feed);
      fed += feed;
    }
    // Doubling: linear time in total, and at most twice the memory of the data.
    if (filled == out.size()) out.resize(std::min(at_most, std::max(kStep, 2 * filled)));
    const size_t room = std::min(out.size() - filled, kMaxFeed);
    stream.next_out = out.data() + filled;
    stream.avail_out = static_cast<uInt>(room);
    const int status = inflate(&stream, Z_NO_FLUSH);
    filled += room - stream.avail_out;
    const size_t read = fed - stream.avail_in;
    if (status == Z_STREAM_END) {
      if (read == bytes.size()) break;
      if (!is_gzip(bytes.subspan(read))) throw_broken(where, "something that is not gzip follows the stream", read, filled);
      if (inflateReset(&stream) != Z_OK) throw_broken(where, "zlib could not be reset", read, filled);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && read == bytes.size() && stream.avail_out != 0)) {
      throw_broken(where, "the gzip stream is truncated", bytes.size(), filled);
    } else if (status != Z_OK) {
      throw_broken(where, std::string("the gzip stream is corrupt: ") + (stream.msg != nullptr ? stream.msg : zError(status)),
                   read, filled);
    }
  }
  out.resize(filled);
  return out;
}

}  // namespace elek
