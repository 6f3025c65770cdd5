// SPDX-License-Identifier: Apache-2.0
// The report of a network: what was done to it, what it lost and won, what it needs, and where its time goes. Written as HTML,
// Markdown or JSON, by the name's ending. Tests: tests/cli/report_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/verdict.h"
#include "lab/report.h"

namespace elek::cli {

struct ReportRequest {
  std::string model;                                 // path of the network that the report is of
  std::string beside;                                // path of the network that it was made from; empty: not known
  std::string command;                               // makes the result again
  bool measure = true;                               // times: both networks in turns, and the steps of this one
  int64_t overlap = 0;                               // calibration images that are evaluation images too
  std::optional<Accuracy> accuracy, dense_accuracy;  // measured now; otherwise the histories' are taken
};

/// Adds --report FILE, which may be given several times.
void add_report_option(CLI::App& command, std::vector<std::string>& paths);

/// UsageError unless each name ends in .html, .md or .json. An empty list is fine.
void check_report_paths(const std::string& option, const std::vector<std::string>& paths);

/// Loads the networks, measures, and makes the document.
[[nodiscard]] Report network_report(const ReportRequest& request, Context& context);

[[nodiscard]] Json report_json(const Report& report);

/// Writes the document to each path, whole or not at all.
void write_report(const Report& report, const std::vector<std::string>& paths);

/// For commands with --report: makes and writes the report of the network that they have just written, and says where it is.
/// Does nothing without paths. The command line is the remembered one.
void report_on(ReportRequest request, const std::vector<std::string>& paths, Context& context);

}  // namespace elek::cli
