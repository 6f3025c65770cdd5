// SPDX-License-Identifier: Apache-2.0
// Whole files in memory, and gzip streams unpacked there, with every way they can be broken told apart.
// Tests: tests/data/idx_test.cpp, tests/fuzz/idx_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elek {

/// The file's bytes. InputError if it is missing, no regular file or unreadable.
[[nodiscard]] std::vector<uint8_t> read_file(const std::string& path);

/// The file's lines, without line ends and without empty lines at its end. InputError as read_file().
[[nodiscard]] std::vector<std::string> read_lines(const std::string& path);

/// Whether the bytes begin as a gzip stream does; the name of the file decides nothing.
[[nodiscard]] bool is_gzip(std::span<const uint8_t> bytes) noexcept;

/// The first `at_most` bytes of a gzip stream (of one member or several). Memory grows with what really comes out, never with
/// what a header promises. InputError, which `where` names the file for, if the stream is broken, ends too early, or is
/// followed by something else; nothing beyond `at_most` bytes is looked at.
[[nodiscard]] std::vector<uint8_t> gunzip(std::span<const uint8_t> bytes, size_t at_most, const std::string& where);

}  // namespace elek
