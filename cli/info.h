// SPDX-License-Identifier: Apache-2.0
// The parts of elek info: how pixels become the input, the groups, and the history of the network.
// Tests: tests/cli/info_test.cpp
#pragma once

#include <string>

#include "cli/output.h"
#include "elek/graph.h"

namespace elek::cli {

/// "(pixel / 255 - mean) / std, mean 0.4850 0.4560 0.4060, std …"
[[nodiscard]] std::string preprocessing_text(const Preprocessing& preprocessing);

/// Each group of an uncut network: channels, members, readers; lines of at most 100 columns.
[[nodiscard]] std::string groups_text(const Graph& graph);
[[nodiscard]] Json groups_json(const Graph& graph);

/// Each entry of the history: what was done, from which network, on which data, and for each group the kept channels and their
/// scores.
[[nodiscard]] std::string history_text(const History& history);
/// One line per entry.
[[nodiscard]] std::string history_line(const HistoryEntry& entry);
/// The whole history.
[[nodiscard]] Json history_json(const History& history);

/// Ascending numbers as ranges: "0-3 5 7-9" for {0, 1, 2, 3, 5, 7, 8, 9}.
[[nodiscard]] std::string ranges(const std::vector<int64_t>& ascending);
/// Breaks `text` at spaces into lines of at most 100 columns. `label` stands before the first; the others are indented by its
/// width.
[[nodiscard]] std::string wrapped(const std::string& label, const std::string& text);

}  // namespace elek::cli
