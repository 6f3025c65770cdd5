// SPDX-License-Identifier: Apache-2.0
// The texts of elek profile: names of kernels that fit a table, and the result of --beside (engine/beside.h).
// Tests: tests/cli/profile_test.cpp
#pragma once

#include <string>

#include "cli/output.h"
#include "engine/beside.h"

namespace elek::cli {

/// A kernel's name without the instruction set, which is the same for all kernels: "oneDNN jit + epilogue", "winograd F(4x4)".
[[nodiscard]] std::string short_kernel(const std::string& kernel);
/// At most `width` characters; the beginning of a longer text is left out.
[[nodiscard]] std::string fit(const std::string& text, size_t width);

[[nodiscard]] std::string beside_text(const Beside& beside);
[[nodiscard]] Json beside_json(const Beside& beside);

}  // namespace elek::cli
