// SPDX-License-Identifier: Apache-2.0
// Shows names and shapes from a file in a message: short, printable, quoted. Also what a path in an archive may be. Internal to
// models/. Tests: tests/models/safetensors_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace elek::detail {

/// "name" in quotes. Control bytes become '?', and text beyond 120 bytes is cut, so that a hostile file cannot flood a
/// terminal.
[[nodiscard]] std::string in_quotes(std::string_view name);
/// "[64, 3, 7, 7]" for a shape of any rank, zeros included.
[[nodiscard]] std::string shape_text(std::span<const int64_t> shape);
/// Whether a path in an archive is absolute or has a part "..". elek unpacks no files, but no writer of weights makes such a
/// path.
[[nodiscard]] bool leaves_folder(std::string_view path);

}  // namespace elek::detail
