// SPDX-License-Identifier: Apache-2.0
// --why NAME: what prune/why.h found, as tables and as JSON. Tests: tests/cli/why_test.cpp
#pragma once

#include <string>

#include "cli/output.h"
#include "prune/why.h"

namespace elek::cli {

/// One table per source, lowest score first, at most 100 columns wide if names are not very long.
[[nodiscard]] std::string why_text(const Why& why);
/// Arrays by channel.
[[nodiscard]] Json why_json(const Why& why);

}  // namespace elek::cli
