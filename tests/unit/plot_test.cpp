// SPDX-License-Identifier: Apache-2.0
// Plots: every point has a marker at the place that its values give, series look different in grey, names cannot break the
// document.
#include "lab/plot.h"

#include <gmock/gmock.h>

#include <regex>
#include <set>

#include "core/error.h"

namespace elek {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Plot two_series() {
  Plot plot;
  plot.title = "a <plot> & more";
  plot.x_label = "x";
  plot.y_label = "y";
  plot.level = 15;
  plot.level_name = "level";
  plot.panels = {{"panel", {{"first", {{0, 10, 9, 11}, {50, 20, 18, 22}}}, {"second", {{0, 12, 12, 12}, {50, 14, 14, 14}}}}}};
  return plot;
}

/// The tips of the markers: "first, 0.0: 10.00 (9.00 .. 11.00)".
std::vector<std::string> tips(const std::string& svg) {
  std::vector<std::string> found;
  const std::regex tip("<title>([^<]*\\.\\.[^<]*)</title>");
  for (std::sregex_iterator it(svg.begin(), svg.end(), tip), end; it != end; ++it) found.push_back((*it)[1]);
  return found;
}

TEST(PlotSvg, EveryPointIsDrawnWithItsErrorBar) {
  const std::string svg = plot_svg(two_series());
  EXPECT_THAT(tips(svg), ::testing::ElementsAre("first, 0.0: 10.00 (9.00 .. 11.00)", "first, 50.0: 20.00 (18.00 .. 22.00)",
                                                "second, 0.0: 12.00 (12.00 .. 12.00)", "second, 50.0: 14.00 (14.00 .. 14.00)"));
  EXPECT_THAT(svg, AllOf(HasSubstr("a &lt;plot&gt; &amp; more"), Not(HasSubstr("<plot>")), HasSubstr(">level<"),
                         ::testing::EndsWith("</svg>\n")));
  // y grows upwards: the circles of the first series (cy) fall from 10 to 20
  const std::regex circle("<circle cx=\"([0-9.]+)\" cy=\"([0-9.]+)\"[^>]*><title>");
  std::vector<std::pair<double, double>> places;
  for (std::sregex_iterator it(svg.begin(), svg.end(), circle), end; it != end; ++it) {
    places.emplace_back(std::stod((*it)[1]), std::stod((*it)[2]));
  }
  ASSERT_EQ(places.size(), 2U);
  EXPECT_LT(places[0].first, places[1].first);
  EXPECT_GT(places[0].second, places[1].second);
}

TEST(PlotSvg, ManySeriesLookDifferentWithoutColour) {
  Plot plot = two_series();
  plot.panels[0].series.clear();
  for (int i = 0; i < 12; ++i) plot.panels[0].series.push_back({std::to_string(i), {{0, 1.0 * i, 0, 0}, {1, 1, 1, 1}}});
  const std::string svg = plot_svg(plot);
  // The legend has one line and one marker per series; without colours all pairs of dashes and shape differ.
  std::set<std::string> looks;
  const std::regex entry("<line [^>]*stroke-dasharray=\"([^\"]*)\"/>\n<(circle|polygon) ([^>]*)/>");
  for (std::sregex_iterator it(svg.begin(), svg.end(), entry), end; it != end; ++it) {
    const std::string shape = (*it)[3];
    const auto corners = std::count(shape.begin(), shape.end(), ',');
    looks.insert((*it)[1].str() + " " + (*it)[2].str() + std::to_string(corners) +
                 (shape.find("fill=\"#ffffff\"") != std::string::npos ? " hollow" : ""));
  }
  EXPECT_GE(looks.size(), 10U);
}

TEST(PlotSvg, NamesReplaceNumbersOnTheAxis) {
  Plot plot = two_series();
  plot.categories = {"layer1", "layer<2>"};
  for (PlotSeries& series : plot.panels[0].series) series.points[1].x = 1;
  const std::string svg = plot_svg(plot);
  EXPECT_THAT(tips(svg)[0], HasSubstr("first, layer1: 10.00"));
  EXPECT_THAT(svg, HasSubstr("layer&lt;2&gt;"));
}

TEST(PlotSvg, NothingToDrawIsRefused) {
  EXPECT_THROW((void)plot_svg(Plot()), ContractError);
  Plot five = two_series();
  five.panels.resize(5, five.panels[0]);
  EXPECT_THROW((void)plot_svg(five), ContractError);
}

}  // namespace
}  // namespace elek
