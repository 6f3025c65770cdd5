// SPDX-License-Identifier: Apache-2.0
// Files that are read or written whole or not at all: images, configurations; model files, statistics, tables, pictures.
// Tests: tests/models/safetensors_write_test.cpp, tests/data/idx_test.cpp, tests/cli/bad_input_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elek {

/// The bytes of a regular file. InputError names the file if it cannot be opened or read, or becomes shorter meanwhile.
[[nodiscard]] std::vector<uint8_t> read_whole_file(const std::string& path);

/// Writes path.tmp-<pid>, syncs it, and renames it over `path`. On any error or interrupt the temporary file is removed and
/// `path` stays as it was. InputError says why (no space, not writable, …).
void write_whole_file(const std::string& path, std::string_view bytes);
void write_whole_file(const std::string& path, const std::vector<std::span<const std::byte>>& parts);

}  // namespace elek
