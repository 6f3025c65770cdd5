// SPDX-License-Identifier: Apache-2.0
#include "lab/svg.h"

#include <array>
#include <charconv>
#include <cmath>

namespace elek::svg {

std::string number(double value, int digits) {
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits).ptr;
  return {text.data(), end};
}

std::string escaped(const std::string& text) {
  std::string made;
  for (const char c : text) {
    switch (c) {
      case '<':
        made += "&lt;";
        break;
      case '>':
        made += "&gt;";
        break;
      case '&':
        made += "&amp;";
        break;
      case '"':
        made += "&quot;";
        break;
      default:
        made += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return made;
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) + "\" " +
         style + "/>\n";
}

std::string text(double x, double y, double size, const std::string& content, const std::string& more) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" font-size=\"" + number(size, 1) + "\" " + more + ">" +
         escaped(content) + "</text>\n";
}

std::string rectangle(double x, double y, double w, double h, const std::string& style, const std::string& inside) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" + number(h) + "\" " +
         style + (inside.empty() ? "/>\n" : ">" + inside + "</rect>\n");
}

std::string begin(double width, double height, const std::string& title) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width, 0) + " " + number(height, 0) +
         "\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<title>" + escaped(title) + "</title>\n" +
         rectangle(0, 0, width, height, "fill=\"#ffffff\"");
}

double tick(double most) {
  const double raw = most / 5;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power) return factor * power;
  }
  return 10 * power;
}

}  // namespace elek::svg
