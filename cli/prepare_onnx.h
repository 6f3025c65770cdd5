// SPDX-License-Identifier: Apache-2.0
// elek prepare --weights FILE.onnx: such a file contains the network, so nothing has to be recognised. Tests:
// tests/cli/prepare_onnx_test.cpp
#pragma once

#include <string>

#include "cli/prepare.h"

namespace elek::cli {

/// True if the file is ONNX, by its first bytes. InputError if it cannot be read.
[[nodiscard]] bool is_onnx(const std::string& path);
/// The complete, validated model, with the importer's notes. InputError for a bad file, UsageError if the options contradict
/// it.
[[nodiscard]] Import prepare_onnx(const Preparation& what, Context& context);

}  // namespace elek::cli
