// SPDX-License-Identifier: Apache-2.0
// Reads lines of text files and unpacks gzip streams. Each way in which a file can be broken has its own error.
// Tests: tests/data/idx_test.cpp, tests/fuzz/idx_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elek {

/// The file's lines, without line ends and without empty lines at its end. InputError as read_whole_file().
[[nodiscard]] std::vector<std::string> read_lines(const std::string& path);

/// Whether the bytes begin like a gzip stream. The file's name does not matter.
[[nodiscard]] bool is_gzip(std::span<const uint8_t> bytes) noexcept;

/// The first `at_most` bytes of a gzip stream (of one or several members). Memory grows with the bytes that really come out,
/// not with the size that a header claims. InputError if the stream is broken, ends too early, or is followed by something
/// else; `where` names the file. Bytes beyond `at_most` are not read.
[[nodiscard]] std::vector<uint8_t> gunzip(std::span<const uint8_t> bytes, size_t at_most, const std::string& where);

}  // namespace elek
