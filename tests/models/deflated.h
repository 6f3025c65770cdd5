// SPDX-License-Identifier: Apache-2.0
// Entries of zip archives with checksums, stored or compressed. Needs zlib; the rest is in archive.h.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/models/archive.h"

namespace elek::test {

inline uint32_t crc_of(const std::string& data) {
  return static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

inline std::string deflated(const std::string& data, int level = 9) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, level, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(data.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline ArchiveEntry stored(const std::string& name, const std::string& data) { return {name, data, data.size(), crc_of(data)}; }
inline ArchiveEntry packed(const std::string& name, const std::string& data, int level = 9) {
  return {name, deflated(data, level), data.size(), crc_of(data), 8};
}

}  // namespace elek::test
