// SPDX-License-Identifier: Apache-2.0
#include "lab/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "lab/svg.h"

namespace elek {
namespace {

using svg::line;
using svg::number;
using svg::text;

constexpr double kWidth = 1600, kHeight = 900;
constexpr double kTop = 150, kBottom = 800;  // of the panels; names of categories raise the bottom
constexpr double kLegendX = 1345, kPanelsEnd = 1320;
constexpr double kTicksWidth = 78;  // left of each panel
constexpr double kFont = 19, kSmallFont = 16;
constexpr double kMarker = 8;
constexpr const char* kLevelStyle = "stroke=\"#000\" stroke-width=\"2\" stroke-dasharray=\"2 5\"";

// Okabe & Ito's colours, which colour-blind readers can distinguish. Dashes and markers repeat with other periods, so the first
// 35 series all look different in grey too.
constexpr std::array<const char*, 7> kColours{"#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9"};
constexpr std::array<const char*, 5> kDashes{"none", "12 5", "4 4", "14 4 3 4", "8 3 2 3 2 3"};
constexpr size_t kShapes = 7;

/// A regular polygon of `corners` around (x, y), the first at `turn` of a circle from straight up; `inner` < 1 makes a star.
std::string polygon(double x, double y, double r, int corners, double turn, double inner = 1) {
  std::string points;
  const int steps = inner < 1 ? 2 * corners : corners;
  for (int i = 0; i < steps; ++i) {
    const double angle = 2 * std::numbers::pi * (turn + static_cast<double>(i) / steps);
    const double length = i % 2 == 1 && inner < 1 ? r * inner : r;
    points += number(x + length * std::sin(angle)) + "," + number(y - length * std::cos(angle)) + " ";
  }
  return "<polygon points=\"" + points + "\"";
}

std::string marker(size_t series, double x, double y, const std::string& tip = "") {
  const std::string colour = kColours[series % kColours.size()];
  const bool hollow = series / kShapes % 2 == 1;
  std::string shape;
  switch (series % kShapes) {
    case 0:
      shape = "<circle cx=\"" + number(x) + "\" cy=\"" + number(y) + "\" r=\"" + number(kMarker * 0.85) + "\"";
      break;
    case 1:
      shape = polygon(x, y, kMarker, 4, 0.125);  // square
      break;
    case 2:
      shape = polygon(x, y, kMarker, 3, 0);
      break;
    case 3:
      shape = polygon(x, y, kMarker, 4, 0);  // diamond
      break;
    case 4:
      shape = polygon(x, y, kMarker, 3, 0.5);
      break;
    case 5:
      shape = polygon(x, y, kMarker * 1.2, 5, 0, 0.45);
      break;
    default:
      shape = polygon(x, y, kMarker * 1.15, 4, 0, 0.35);
  }
  return shape + " fill=\"" + (hollow ? "#ffffff" : colour) + "\" stroke=\"" + colour + "\" stroke-width=\"2\"" +
         (tip.empty() ? "/>\n" : "><title>" + svg::escaped(tip) + "</title></" + shape.substr(1, shape.find(' ') - 1) + ">\n");
}

std::string stroke(size_t series) {
  return "fill=\"none\" stroke=\"" + std::string(kColours[series % kColours.size()]) +
         "\" stroke-width=\"2.5\" stroke-dasharray=\"" + kDashes[series % kDashes.size()] + "\"";
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen(double share) {
    const double room = high > low ? (high - low) * share : 1;
    low -= room;
    high += room;
  }
};

class Panel {
 public:
  Panel(const Plot& plot, const PlotPanel& panel, double left, double width)
      : plot_(plot), panel_(panel), left_(left), width_(width), bottom_(plot.categories.empty() ? kBottom : kBottom - 95) {
    for (const PlotPanel& each : plot.panels) {  // x is shared, y is the panel's own
      for (const PlotSeries& series : each.series) {
        for (const PlotPoint& point : series.points) x_.add(point.x);
      }
    }
    for (const PlotSeries& series : panel.series) {
      for (const PlotPoint& point : series.points) {
        y_.add(point.low);
        y_.add(point.high);
      }
    }
    y_.add(plot.level);
    y_.widen(0.06);
    if (plot.categories.empty()) {
      x_.widen(0.06);
    } else {
      x_ = {-0.6, static_cast<double>(plot.categories.size()) - 0.4};
    }
  }

  [[nodiscard]] std::string draw() const {
    std::string svg =
        text(left_ + width_ / 2, kTop - 18, kFont + 3, panel_.title, "text-anchor=\"middle\" font-weight=\"bold\"");
    svg += y_axis() + (plot_.categories.empty() ? x_axis() : names());
    if (!plot_.level_name.empty()) svg += line(left_, down(plot_.level), left_ + width_, down(plot_.level), kLevelStyle);
    for (size_t s = 0; s < panel_.series.size(); ++s) svg += curve(s);
    return svg;
  }

 private:
  [[nodiscard]] double across(double x) const { return left_ + (x - x_.low) / (x_.high - x_.low) * width_; }
  [[nodiscard]] double down(double y) const { return bottom_ - (y - y_.low) / (y_.high - y_.low) * (bottom_ - kTop); }

  [[nodiscard]] std::string y_axis() const {
    std::string svg;
    const double tick = svg::tick(y_.high - y_.low);
    for (double y = std::ceil(y_.low / tick) * tick; y <= y_.high; y += tick) {
      svg += line(left_, down(y), left_ + width_, down(y), "stroke=\"#dddddd\"");
      svg += text(left_ - 8, down(y) + 6, kFont, label(y, tick), "text-anchor=\"end\"");
    }
    return svg + line(left_, kTop, left_, bottom_, "stroke=\"#000\"");
  }

  [[nodiscard]] std::string x_axis() const {
    std::string svg = line(left_, bottom_, left_ + width_, bottom_, "stroke=\"#000\"");
    const double tick = svg::tick(x_.high - x_.low);
    for (double x = std::ceil(x_.low / tick) * tick; x <= x_.high; x += tick) {
      svg += line(across(x), bottom_, across(x), bottom_ + 6, "stroke=\"#000\"");
      svg += text(across(x), bottom_ + 26, kFont, label(x, tick), "text-anchor=\"middle\"");
    }
    return svg;
  }

  [[nodiscard]] std::string names() const {
    std::string svg = line(left_, bottom_, left_ + width_, bottom_, "stroke=\"#000\"");
    for (size_t i = 0; i < plot_.categories.size(); ++i) {
      const double x = across(static_cast<double>(i));
      svg += line(x, kTop, x, bottom_ + 6, "stroke=\"#dddddd\"");
      svg += text(x + 5, bottom_ + 16, kSmallFont, plot_.categories[i],
                  "text-anchor=\"end\" transform=\"rotate(-55 " + number(x + 5) + " " + number(bottom_ + 16) + ")\"");
    }
    return svg;
  }

  [[nodiscard]] std::string curve(size_t s) const {
    const PlotSeries& series = panel_.series[s];
    std::string path, bars, markers;
    for (const PlotPoint& point : series.points) {
      const double x = across(point.x), y = down(point.y);
      path += (path.empty() ? "M" : " L") + number(x) + " " + number(y);
      if (point.high > point.low) {
        const std::string style = "stroke=\"" + std::string(kColours[s % kColours.size()]) + "\" stroke-width=\"1.5\"";
        bars += line(x, down(point.low), x, down(point.high), style);
        for (const double end : {point.low, point.high}) bars += line(x - 5, down(end), x + 5, down(end), style);
      }
      const std::string where =
          plot_.categories.empty() ? number(point.x, 1) : plot_.categories.at(static_cast<size_t>(point.x));
      markers += marker(
          s, x, y,
          series.name + ", " + where + ": " + number(point.y) + " (" + number(point.low) + " .. " + number(point.high) + ")");
    }
    return (path.empty() ? "" : "<path d=\"" + path + "\" " + stroke(s) + "/>\n") + bars + markers;
  }

  static std::string label(double value, double tick) {
    const int digits = tick >= 1 ? 0 : tick >= 0.1 ? 1 : 2;
    return number(std::fabs(value) < tick / 2 ? 0 : value, digits);  // avoids "-0"
  }

  const Plot& plot_;
  const PlotPanel& panel_;
  double left_;
  double width_;
  double bottom_;
  Range x_;
  Range y_;
};

std::string legend(const Plot& plot) {
  std::string svg;
  double y = kTop + 10;
  for (size_t s = 0; s < plot.panels.front().series.size(); ++s, y += 36) {
    svg += line(kLegendX, y, kLegendX + 56, y, stroke(s)) + marker(s, kLegendX + 28, y);
    svg += text(kLegendX + 66, y + 6, kSmallFont + 1, plot.panels.front().series[s].name);
  }
  if (plot.level_name.empty()) return svg;
  svg += line(kLegendX, y, kLegendX + 56, y, kLevelStyle);
  return svg + text(kLegendX + 66, y + 6, kSmallFont + 1, plot.level_name);
}

}  // namespace

std::string plot_svg(const Plot& plot) {
  const bool has_point = std::any_of(plot.panels.begin(), plot.panels.end(), [](const PlotPanel& panel) {
    return std::any_of(panel.series.begin(), panel.series.end(), [](const PlotSeries& s) { return !s.points.empty(); });
  });
  ELEK_CHECK(has_point && plot.panels.size() <= 4,
             "a plot of " + std::to_string(plot.panels.size()) + " panels, expected one to four with a point to draw");
  std::string svg = svg::begin(kWidth, kHeight, plot.title);
  svg += text(34, 48, 29, plot.title, "font-weight=\"bold\"");
  svg += text(34, 82, kSmallFont + 1, plot.subtitle);
  const double each = (kPanelsEnd - 34) / static_cast<double>(plot.panels.size());
  for (size_t i = 0; i < plot.panels.size(); ++i) {
    const double left = 34 + each * static_cast<double>(i) + kTicksWidth;
    svg += Panel(plot, plot.panels[i], left, each - kTicksWidth - 6).draw();
  }
  svg += text(34 + kTicksWidth + (kPanelsEnd - 34 - kTicksWidth) / 2, kHeight - 34, kFont + 1, plot.x_label,
              "text-anchor=\"middle\"");
  const std::string middle = number((kTop + kBottom) / 2);
  svg += text(40, (kTop + kBottom) / 2, kFont + 1, plot.y_label,
              "text-anchor=\"middle\" transform=\"rotate(-90 40.00 " + middle + ")\"");
  return svg + legend(plot) + "</svg>\n";
}

}  // namespace elek
