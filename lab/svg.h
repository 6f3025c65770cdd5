// SPDX-License-Identifier: Apache-2.0
// Pieces of SVG as text, for our own drawings: the memory map and the plots of elek sweep. Lengths are in units of the viewBox.
// Numbers have two decimals and a point in every locale. Text is escaped here and nowhere else.
// Tests: tests/unit/svg_test.cpp
#pragma once

#include <string>

namespace elek::svg {

/// Width of a letter as a share of the font size: a careful mean for sans-serif.
inline constexpr double kLetter = 0.58;

[[nodiscard]] std::string number(double value, int digits = 2);
/// Escaped for elements and attributes; control characters become blanks.
[[nodiscard]] std::string escaped(const std::string& text);
[[nodiscard]] std::string line(double x1, double y1, double x2, double y2, const std::string& style);
/// `more` holds further attributes, written as they are.
[[nodiscard]] std::string text(double x, double y, double size, const std::string& content, const std::string& more = "");
/// `inside` (a <title>, shown on hover) is not escaped.
[[nodiscard]] std::string rectangle(double x, double y, double w, double h, const std::string& style,
                                    const std::string& inside = "");
/// The opening tag, a white background and the document's name. Close it with "</svg>\n".
[[nodiscard]] std::string begin(double width, double height, const std::string& title);
/// Distance of an axis's ticks: 1, 2 or 5 times a power of ten, so that `most` > 0 has three to seven ticks.
[[nodiscard]] double tick(double most);

}  // namespace elek::svg
