// SPDX-License-Identifier: Apache-2.0
// The document and its charts: escaped, well formed, and drawn where they should be.
#include "lab/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stack>

#include "core/error.h"
#include "lab/report_charts.h"

namespace elek {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Report nasty() {
  Report report;
  report.title = "a<b> & \"c\"";
  report.verdict = "It's <fine>.";
  report.warnings = {"<script>alert(1)</script>"};
  report.command = "elek report --out 'a b.html'";
  report.facts = {{"name", "say \"hi\" \\ there\nnow"}};
  report.sections.push_back(
      {"S",
       {"p & q"},
       {{"T", {{"", "n", "text"}, {"r|s", "1 %", "x"}, {"t", "-", "12 of images of a very long data word"}}}},
       {}});
  report.sections.back().figures.push_back({"F", kept_bars_svg("F", {{"g<1>", 3, 8}}), "three of \"eight\""});
  return report;
}

/// Every element that is opened is closed, in order. Void elements of HTML are known.
std::string unbalanced(const std::string& page) {
  std::stack<std::string> open;
  for (size_t at = page.find("<body"); (at = page.find('<', at)) != std::string::npos; ++at) {
    const size_t end = page.find('>', at);
    const std::string tag = page.substr(at + 1, end - at - 1);
    const std::string name =
        tag.substr(tag.starts_with('/') ? 1 : 0, tag.find_first_of(" \n/>", 1) - (tag.starts_with('/') ? 1 : 0));
    if (tag.ends_with('/')) continue;
    if (!tag.starts_with('/')) {
      open.push(name);
    } else if (open.empty() || open.top() != name) {
      return tag + " closes " + (open.empty() ? "nothing" : open.top());
    } else {
      open.pop();
    }
  }
  return open.empty() || open.top() == "html" ? "" : open.top() + " stays open";
}

TEST(ReportPage, EscapesEverything) {
  const std::string page = report_html(nasty());
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("a<b>")));
  EXPECT_THAT(page, HasSubstr("a&lt;b&gt; &amp; &quot;c&quot;"));
  EXPECT_THAT(page, HasSubstr("role=\"img\" aria-label=\"three of &quot;eight&quot;\""));
  EXPECT_THAT(page, HasSubstr("<th scope=\"col\" class=\"number\">n</th><th scope=\"col\">text</th>"));
  EXPECT_EQ(unbalanced(page.substr(0, page.find("</html>"))), "");
}

TEST(ReportPage, MarkdownHasAHeadAndTables) {
  const std::string text = report_markdown(nasty());
  EXPECT_THAT(text, ::testing::StartsWith("---\nname: \"say \\\"hi\\\" \\\\ there now\"\n---\n\n# a<b>"));
  EXPECT_THAT(text, HasSubstr("| r\\|s | 1 % | x |"));
  EXPECT_THAT(text, HasSubstr("|---|---:|---|"));
  EXPECT_THAT(text, HasSubstr("    elek report --out 'a b.html'"));
}

/// The x of the n-th element of this kind.
double attribute(const std::string& drawing, const std::string& element, int n, const std::string& name) {
  size_t at = 0;
  for (int i = 0; i <= n; ++i) at = drawing.find("<" + element + " ", i == 0 ? 0 : at + 1);
  at = drawing.find(" " + name + "=\"", at);
  return std::stod(drawing.substr(at + name.size() + 3));
}

TEST(ReportCharts, BarsAreAsLongAsTheirNumbers) {
  const std::string drawing = kept_bars_svg("kept", {{"a", 3, 8}, {"b", 4, 4}});
  const double before = attribute(drawing, "rect", 1, "width");  // the first is the ground
  EXPECT_NEAR(attribute(drawing, "rect", 2, "width"), before * 3 / 8, 0.02);
  EXPECT_NEAR(attribute(drawing, "rect", 3, "width"), before / 2, 0.02);
  EXPECT_THAT(drawing, HasSubstr("3 of 8"));
  EXPECT_THROW((void)kept_bars_svg("none", {}), ContractError);
}

TEST(ReportCharts, StagesHaveWhiskersOfTheirError) {
  const std::string drawing = stages_svg("stages", {{"dense", 0.5, 0.05}});
  const double half = attribute(drawing, "rect", 1, "width");
  EXPECT_THAT(drawing, HasSubstr("50.00 % (± 5.00)"));
  const double end = attribute(drawing, "rect", 1, "x") + half;
  EXPECT_NEAR(attribute(drawing, "line", 6, "x1"), end - half / 10, 0.05);  // after six grid lines
  EXPECT_NEAR(attribute(drawing, "line", 6, "x2"), end + half / 10, 0.05);
}

TEST(ReportCharts, PointsLieUnderTheirRoof) {
  // 100 FLOP/byte at the computing roof, 1 FLOP/byte at the memory roof of 10 byte/s: both on the line.
  const std::string drawing = roofline_svg("r", {{"a", 100, 1000, 0.5}, {"b", 1, 10, 0.5}}, 1000, 10);
  EXPECT_GT(attribute(drawing, "circle", 0, "cx"), attribute(drawing, "circle", 1, "cx"));
  EXPECT_LT(attribute(drawing, "circle", 0, "cy"), attribute(drawing, "circle", 1, "cy"));
  EXPECT_THROW((void)roofline_svg("r", {{"a", 0, 0, 0}}, 1000, 10), ContractError);
  EXPECT_THROW((void)roofline_svg("r", {{"a", 1, 1, 1}}, 1000, 0), ContractError);
}

}  // namespace
}  // namespace elek
