// SPDX-License-Identifier: Apache-2.0
// A report as a document: sections with paragraphs, tables and figures, written as one HTML page that needs no network and can
// be printed on A4, or as Markdown (a model card with a YAML head). Knows nothing of networks: the command fills it.
// Tests: tests/unit/report_test.cpp, tests/cli/report_test.cpp
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace elek {

struct ReportTable {
  std::string title;
  std::vector<std::vector<std::string>> rows;  // the first is the header; in the others, the first cell is the row's header
};
struct ReportFigure {
  std::string title;
  std::string svg;   // one <svg> element
  std::string text;  // what it shows, for readers who do not see it and for Markdown
};
struct ReportSection {
  std::string title;
  std::vector<std::string> paragraphs;
  std::vector<ReportTable> tables;
  std::vector<ReportFigure> figures;
};
struct Report {
  std::string title;
  std::string verdict;
  std::vector<std::string> warnings;
  std::vector<ReportSection> sections;
  std::string command;                                     // makes the result again; empty: not known
  std::vector<std::pair<std::string, std::string>> facts;  // name and value, for the YAML head
};

/// One page: HTML 5 with inline style and SVG, light or dark as the reader's system asks. All text is escaped here.
[[nodiscard]] std::string report_html(const Report& report);
/// The same content without the figures' drawings.
[[nodiscard]] std::string report_markdown(const Report& report);

}  // namespace elek
