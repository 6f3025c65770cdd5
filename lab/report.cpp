// SPDX-License-Identifier: Apache-2.0
#include "lab/report.h"

#include <algorithm>
#include <string_view>

#include "lab/svg.h"

namespace elek {
namespace {

using svg::escaped;

/// Colours of the two themes; figures keep a white ground, because they are drawn in dark ink.
constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6472; --line: #d5dae1; --ground: #ffffff; --accent: #1f5fa8;
  --warn-ground: #fff4dd; --warn-line: #b26a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a9b2be; --line: #3a424d; --ground: #14181d; --accent: #8ab8ee; --warn-ground: #33270f; --warn-line: #e0a33a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", Verdana, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.verdict { font-size: 1.15rem; border-left: .3rem solid var(--accent); padding: .4rem 0 .4rem .9rem; margin: 1rem 0; }
.warnings { background: var(--warn-ground); border-left: .3rem solid var(--warn-line); padding: .6rem .9rem .6rem 2rem; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; font-size: .94rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; }
th, td { padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.number { text-align: right; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line); border-radius: .3rem; }
figcaption { color: var(--soft); font-size: .92rem; margin-bottom: .3rem; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .3rem; padding: .7rem; font-size: .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@page { size: A4; margin: 16mm; }
@media print {
  :root { color-scheme: light; --ink: #000000; --soft: #444444; --line: #bbbbbb; --ground: #ffffff; --accent: #1f5fa8; --warn-ground: #ffffff; --warn-line: #b26a00; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  figure, table, .verdict, .warnings { break-inside: avoid; }
}
)";

/// Whether a column holds numbers, with units or as ranges: then they stand under each other from the right.
bool holds_numbers(const ReportTable& table, size_t column) {
  constexpr size_t kLongest = 32;
  constexpr std::string_view kStarts = "0123456789+-", kPlusMinus = "±";
  bool any = false;
  for (size_t r = 1; r < table.rows.size(); ++r) {
    if (column >= table.rows[r].size()) continue;
    const std::string& cell = table.rows[r][column];
    if (cell.empty() || cell == "-") continue;
    const bool number =
        cell.size() <= kLongest && (kStarts.find(cell.front()) != std::string_view::npos || cell.starts_with(kPlusMinus));
    if (!number) return false;
    any = true;
  }
  return any;
}

std::string html_table(const ReportTable& table) {
  if (table.rows.empty()) return "";
  std::vector<std::string> kinds(table.rows.front().size());
  for (size_t c = 1; c < kinds.size(); ++c) kinds[c] = holds_numbers(table, c) ? " class=\"number\"" : "";
  std::string text = "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"" + escaped(table.title) +
                     "\">\n<table>\n<caption>" + escaped(table.title) + "</caption>\n<thead><tr>";
  for (size_t c = 0; c < kinds.size(); ++c) {
    const std::string& cell = table.rows.front()[c];
    text += cell.empty() ? "<td></td>" : "<th scope=\"col\"" + kinds[c] + ">" + escaped(cell) + "</th>";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (size_t r = 1; r < table.rows.size(); ++r) {
    const std::vector<std::string>& row = table.rows[r];
    text += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      text += c == 0 ? "<th scope=\"row\">" + escaped(row[c]) + "</th>"
                     : "<td" + (c < kinds.size() ? kinds[c] : std::string()) + ">" + escaped(row[c]) + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n</div>\n";
}

/// The drawing, announced as one picture to screen readers.
std::string html_figure(const ReportFigure& figure) {
  std::string drawing = figure.svg;
  if (const size_t at = drawing.find("<svg "); at != std::string::npos) {
    drawing.insert(at + 5, "role=\"img\" aria-label=\"" + escaped(figure.text) + "\" ");
  }
  return "<figure>\n<figcaption>" + escaped(figure.title) + "</figcaption>\n" + drawing + "</figure>\n";
}

std::string html_section(const ReportSection& section) {
  std::string text = "<section>\n<h2>" + escaped(section.title) + "</h2>\n";
  for (const std::string& paragraph : section.paragraphs) text += "<p>" + escaped(paragraph) + "</p>\n";
  for (const ReportTable& table : section.tables) text += html_table(table);
  for (const ReportFigure& figure : section.figures) text += html_figure(figure);
  return text + "</section>\n";
}

/// A cell of a Markdown table.
std::string cell_text(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

std::string markdown_table(const ReportTable& table) {
  if (table.rows.empty()) return "";
  std::string text = table.title + "\n\n";
  const size_t columns = table.rows.front().size();
  for (size_t r = 0; r < table.rows.size(); ++r) {
    text += "|";
    for (size_t c = 0; c < columns; ++c) text += " " + cell_text(c < table.rows[r].size() ? table.rows[r][c] : "") + " |";
    text += "\n";
    if (r > 0) continue;
    text += "|";
    for (size_t c = 0; c < columns; ++c) text += c > 0 && holds_numbers(table, c) ? "---:|" : "---|";
    text += "\n";
  }
  return text + "\n";
}

/// A double-quoted YAML scalar: the same escapes as JSON's.
std::string yaml_text(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return text + "\"";
}

}  // namespace

std::string report_html(const Report& report) {
  std::string text =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
      escaped(report.title) + "</title>\n<style>" + std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n<h1>" +
      escaped(report.title) + "</h1>\n<p class=\"verdict\">" + escaped(report.verdict) + "</p>\n";
  if (!report.warnings.empty()) {
    text += "<section aria-label=\"Warnings\">\n<ul class=\"warnings\">\n";
    for (const std::string& warning : report.warnings) text += "<li>" + escaped(warning) + "</li>\n";
    text += "</ul>\n</section>\n";
  }
  for (const ReportSection& section : report.sections) text += html_section(section);
  if (!report.command.empty()) {
    text += "<section>\n<h2>How to make it again</h2>\n<pre tabindex=\"0\">" + escaped(report.command) + "</pre>\n</section>\n";
  }
  return text + "</main>\n</body>\n</html>\n";
}

std::string report_markdown(const Report& report) {
  std::string text = "---\n";
  for (const auto& [name, value] : report.facts) text += name + ": " + yaml_text(value) + "\n";
  text += "---\n\n# " + report.title + "\n\n" + report.verdict + "\n\n";
  for (const std::string& warning : report.warnings) text += "* **Warning:** " + warning + "\n";
  if (!report.warnings.empty()) text += "\n";
  for (const ReportSection& section : report.sections) {
    text += "## " + section.title + "\n\n";
    for (const std::string& paragraph : section.paragraphs) text += paragraph + "\n\n";
    for (const ReportTable& table : section.tables) text += markdown_table(table);
    for (const ReportFigure& figure : section.figures) text += figure.title + ": " + figure.text + "\n\n";
  }
  if (!report.command.empty()) text += "## How to make it again\n\n    " + report.command + "\n";
  return text;
}

}  // namespace elek
