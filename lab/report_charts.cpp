// SPDX-License-Identifier: Apache-2.0
#include "lab/report_charts.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "lab/svg.h"

namespace elek {
namespace {

constexpr const char* kPale = "fill=\"#cfdcec\"";
constexpr const char* kDark = "fill=\"#1f5fa8\"";
constexpr const char* kGrid = "stroke=\"#d5dae1\"";
constexpr const char* kInk = "stroke=\"#1c2430\" stroke-width=\"1.5\"";
constexpr double kWidth = 960, kText = 15;

std::string label(double x, double y, const std::string& content, const std::string& anchor) {
  return svg::text(x, y, kText, content, "fill=\"#1c2430\" text-anchor=\"" + anchor + "\"");
}

/// At most `letters` letters: the end of a long layer name tells more than its beginning.
std::string shortened(const std::string& name, size_t letters) {
  return name.size() <= letters ? name : "…" + name.substr(name.size() - letters + 1);
}

std::string short_number(double value) { return svg::number(value, 0); }

double power_below(double value) { return std::pow(10.0, std::floor(std::log10(value))); }
double power_above(double value) { return std::pow(10.0, std::ceil(std::log10(value))); }

std::string power_text(double value) {
  if (value >= 1e12) return svg::number(value / 1e12, 0) + " T";
  if (value >= 1e9) return svg::number(value / 1e9, 0) + " G";
  if (value >= 1e6) return svg::number(value / 1e6, 0) + " M";
  if (value >= 1) return svg::number(value, 0);
  return svg::number(value, value >= 0.1 ? 1 : value >= 0.01 ? 2 : 3);
}

}  // namespace

std::string kept_bars_svg(const std::string& title, const std::vector<KeptBar>& bars) {
  ELEK_CHECK(!bars.empty(), "a chart needs a bar");
  constexpr double kRow = 24, kLeft = 250, kRight = 130, kTop = 12;
  const double most =
      std::max_element(bars.begin(), bars.end(), [](const auto& a, const auto& b) { return a.before < b.before; })->before;
  const double scale = (kWidth - kLeft - kRight) / std::max(most, 1.0);
  std::string drawing = svg::begin(kWidth, kTop + kRow * static_cast<double>(bars.size()) + 12, title);
  double y = kTop;
  for (const KeptBar& bar : bars) {
    drawing += label(kLeft - 10, y + 16, shortened(bar.name, 28), "end");
    drawing += svg::rectangle(kLeft, y + 3, bar.before * scale, kRow - 7, kPale);
    drawing += svg::rectangle(kLeft, y + 3, bar.kept * scale, kRow - 7, kDark);
    drawing +=
        label(kLeft + bar.before * scale + 8, y + 16, short_number(bar.kept) + " of " + short_number(bar.before), "start");
    y += kRow;
  }
  return drawing + "</svg>\n";
}

std::string stages_svg(const std::string& title, const std::vector<StageBar>& stages) {
  ELEK_CHECK(!stages.empty(), "a chart needs a bar");
  constexpr double kRow = 34, kLeft = 150, kRight = 190, kTop = 12, kBottom = 34;
  const double scale = kWidth - kLeft - kRight, bottom = kTop + kRow * static_cast<double>(stages.size());
  std::string drawing = svg::begin(kWidth, bottom + kBottom, title);
  for (int tenth = 0; tenth <= 10; tenth += 2) {
    const double x = kLeft + scale * tenth / 10;
    drawing += svg::line(x, kTop, x, bottom, kGrid);
    drawing += label(x, bottom + 20, std::to_string(tenth * 10) + " %", "middle");
  }
  double y = kTop;
  for (const StageBar& stage : stages) {
    const double middle = y + kRow / 2, end = kLeft + stage.value * scale, reach = stage.error * scale;
    drawing += label(kLeft - 10, middle + 5, stage.name, "end");
    drawing += svg::rectangle(kLeft, y + 6, stage.value * scale, kRow - 12, kDark);
    drawing += svg::line(end - reach, middle, end + reach, middle, kInk);
    for (const double x : {end - reach, end + reach}) drawing += svg::line(x, middle - 5, x, middle + 5, kInk);
    drawing += label(end + reach + 10, middle + 5,
                     svg::number(100 * stage.value) + " % (± " + svg::number(100 * stage.error) + ")", "start");
    y += kRow;
  }
  return drawing + "</svg>\n";
}

std::string roofline_svg(const std::string& title, const std::vector<RooflinePoint>& points, double peak_flops_per_second,
                         double peak_bytes_per_second) {
  constexpr double kHeight = 480, kLeft = 110, kRight = 30, kTop = 24, kBottom = 64;
  std::vector<RooflinePoint> shown;
  std::copy_if(points.begin(), points.end(), std::back_inserter(shown),
               [](const RooflinePoint& p) { return p.flops_per_byte > 0 && p.flops_per_second > 0; });
  ELEK_CHECK(!shown.empty() && peak_flops_per_second > 0 && peak_bytes_per_second > 0,
             "a roofline needs a point and both roofs");
  const double ridge = peak_flops_per_second / peak_bytes_per_second;
  double x_low = ridge / 4, x_high = ridge * 4, y_low = peak_flops_per_second / 100, y_high = peak_flops_per_second * 1.5;
  for (const RooflinePoint& p : shown) {
    x_low = std::min(x_low, p.flops_per_byte), x_high = std::max(x_high, p.flops_per_byte);
    y_low = std::min(y_low, p.flops_per_second), y_high = std::max(y_high, p.flops_per_second);
  }
  x_low = power_below(x_low), x_high = power_above(x_high), y_low = power_below(y_low), y_high = power_above(y_high);
  const auto x_of = [&](double value) {
    return kLeft + (kWidth - kLeft - kRight) * std::log(value / x_low) / std::log(x_high / x_low);
  };
  const auto y_of = [&](double value) {
    return kHeight - kBottom - (kHeight - kTop - kBottom) * std::log(value / y_low) / std::log(y_high / y_low);
  };
  std::string drawing = svg::begin(kWidth, kHeight, title);
  for (double x = x_low; x <= x_high * 1.01; x *= 10) {
    drawing += svg::line(x_of(x), kTop, x_of(x), kHeight - kBottom, kGrid);
    drawing += label(x_of(x), kHeight - kBottom + 20, power_text(x), "middle");
  }
  for (double y = y_low; y <= y_high * 1.01; y *= 10) {
    drawing += svg::line(kLeft, y_of(y), kWidth - kRight, y_of(y), kGrid);
    drawing += label(kLeft - 10, y_of(y) + 5, power_text(y) + "FLOP/s", "end");
  }
  drawing += label((kLeft + kWidth - kRight) / 2, kHeight - 14, "FLOP per byte read or written", "middle");
  const double corner = std::max(x_low, y_low / peak_bytes_per_second);
  drawing += svg::line(x_of(corner), y_of(corner * peak_bytes_per_second), x_of(ridge), y_of(peak_flops_per_second), kInk);
  drawing += svg::line(x_of(ridge), y_of(peak_flops_per_second), x_of(x_high), y_of(peak_flops_per_second), kInk);
  for (const RooflinePoint& p : shown) {
    const double radius = 4 + 14 * std::sqrt(std::clamp(p.share_of_time, 0.0, 1.0));
    drawing += "<circle cx=\"" + svg::number(x_of(p.flops_per_byte)) + "\" cy=\"" + svg::number(y_of(p.flops_per_second)) +
               "\" r=\"" + svg::number(radius) + "\" fill=\"#1f5fa8\" fill-opacity=\"0.55\" stroke=\"#1c2430\"><title>" +
               svg::escaped(p.name) + "</title></circle>\n";
  }
  // The steps that take most of the time carry numbers; the empty corner below the roof says which they are.
  std::stable_sort(shown.begin(), shown.end(), [](const auto& a, const auto& b) { return a.share_of_time > b.share_of_time; });
  const size_t named = std::min<size_t>(5, shown.size());
  for (size_t i = 0; i < named; ++i) {
    const RooflinePoint& p = shown[i];
    const std::string number = std::to_string(i + 1);
    drawing +=
        svg::text(x_of(p.flops_per_byte), y_of(p.flops_per_second) + 4, 11, number, "fill=\"#1c2430\" text-anchor=\"middle\"");
    drawing +=
        label(kWidth - kRight - 10, kHeight - kBottom - 12 - 20 * static_cast<double>(named - 1 - i),
              number + "  " + shortened(p.name, 28) + ", " + svg::number(100 * p.share_of_time, 0) + " % of the time", "end");
  }
  return drawing + "</svg>\n";
}

}  // namespace elek
