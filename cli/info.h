// SPDX-License-Identifier: Apache-2.0
// The parts of elek info: how pixels become the input, the groups that a cut would touch together, and what was done to the
// network so far.
// Tests: tests/cli/info_test.cpp
#pragma once

#include <string>

#include "cli/output.h"
#include "elek/graph.h"

namespace elek::cli {

/// "(pixel / 255 - mean) / std, mean 0.4850 0.4560 0.4060, std …"
[[nodiscard]] std::string preprocessing_text(const Preprocessing& preprocessing);

/// Each group before it is cut: channels, members, who reads them; lines of at most 100 columns.
[[nodiscard]] std::string groups_text(const Graph& graph);
[[nodiscard]] Json groups_json(const Graph& graph);

/// Each entry of the history: what was done, from what, on what data, what stayed of each group and how it had scored.
[[nodiscard]] std::string history_text(const History& history);
/// One line an entry.
[[nodiscard]] std::string history_line(const HistoryEntry& entry);
/// Everything the file has.
[[nodiscard]] Json history_json(const History& history);

/// "0-3 5 7-9" of {0, 1, 2, 3, 5, 7, 8, 9}.
[[nodiscard]] std::string ranges(const std::vector<int64_t>& ascending);
/// `text` broken at spaces to lines of at most 100 columns, the first after `label`, the others indented to its width.
[[nodiscard]] std::string wrapped(const std::string& label, const std::string& text);

}  // namespace elek::cli
