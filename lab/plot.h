// SPDX-License-Identifier: Apache-2.0
// Plots as SVG: panels side by side that share their series and legend. Readable in grey: every series has its own marker and
// dashes beside its colour. Tests: tests/unit/plot_test.cpp, tests/cli/sweep_test.cpp
#pragma once

#include <string>
#include <vector>

namespace elek {

struct PlotPoint {
  double x = 0;
  double y = 0;
  double low = 0;  // ends of the error bar; both y if there is none
  double high = 0;
};
struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // joined in this order
};
struct PlotPanel {
  std::string title;
  std::vector<PlotSeries> series;  // the same names in each panel, in the same order
};
struct Plot {
  std::string title;
  std::string subtitle;
  std::string x_label;
  std::string y_label;
  std::string level_name;  // label of a horizontal line over each panel; empty: none
  double level = 0;
  std::vector<std::string> categories;  // names of x = 0, 1, …; empty for a scale of numbers
  std::vector<PlotPanel> panels;        // one to four
};

/// One SVG document of 1600 x 900 units. Each panel has its own scale of y. ContractError without a panel or a point.
[[nodiscard]] std::string plot_svg(const Plot& plot);

}  // namespace elek
