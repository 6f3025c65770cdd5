// SPDX-License-Identifier: Apache-2.0
// The charts of a report, as SVG. Readable in grey: bars and points differ in lightness and shape, not only in hue.
// Tests: tests/unit/report_test.cpp
#pragma once

#include <string>
#include <vector>

namespace elek {

struct KeptBar {
  std::string name;
  double kept = 0;
  double before = 0;
};
/// One horizontal bar per row: what was kept, on a paler bar of what there was. ContractError without rows.
[[nodiscard]] std::string kept_bars_svg(const std::string& title, const std::vector<KeptBar>& bars);

struct StageBar {
  std::string name;
  double value = 0;  // 0 … 1
  double error = 0;  // standard error
};
/// Accuracies at each stage, with whiskers of one standard error. The scale starts at 0.
[[nodiscard]] std::string stages_svg(const std::string& title, const std::vector<StageBar>& stages);

struct RooflinePoint {
  std::string name;
  double flops_per_byte = 0;
  double flops_per_second = 0;
  double share_of_time = 0;  // 0 … 1: the size of the point
};
/// A roofline plot, both axes logarithmic. ContractError without a point of positive work.
[[nodiscard]] std::string roofline_svg(const std::string& title, const std::vector<RooflinePoint>& points,
                                       double peak_flops_per_second, double peak_bytes_per_second);

}  // namespace elek
