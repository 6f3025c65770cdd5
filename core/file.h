// SPDX-License-Identifier: Apache-2.0
// Files that are written whole or not at all: model files, statistics, tables, pictures.
// Tests: tests/models/safetensors_write_test.cpp, tests/cli/bad_input_test.cpp
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elek {

/// Writes path.tmp-<pid>, syncs it, and renames it over `path`. On any error or interrupt the temporary file is removed and
/// `path` stays as it was. InputError says why (no space, not writable, …).
void write_whole_file(const std::string& path, std::string_view bytes);
void write_whole_file(const std::string& path, const std::vector<std::span<const std::byte>>& parts);

}  // namespace elek
