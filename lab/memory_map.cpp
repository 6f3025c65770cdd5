// SPDX-License-Identifier: Apache-2.0
// Draws the memory map.
// Tests: tests/cli/memory_test.cpp
#include "lab/memory_map.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "lab/svg.h"

namespace elek {
namespace {

using svg::escaped;
using svg::kLetter;
using svg::line;
using svg::number;
using svg::rectangle;
using svg::text;

constexpr double kWidth = 1600, kHeight = 900;
constexpr double kPanelWidth = 590, kPanelHeight = 318;  // of four panels
struct Box {
  double x = 0, y = 0, w = 0, h = 0;
};
constexpr int32_t kLasting = 4;  // a block whose last step is this far from its first is drawn dark

std::string megabytes(size_t bytes) {
  const double mb = static_cast<double>(bytes) / 1e6;
  return number(mb, mb < 1 ? 3 : mb < 100 ? 2 : 1) + " MB";
}

double aligned(size_t bytes) {
  const size_t units = (bytes + kAlignment - 1) / kAlignment;
  return static_cast<double>(units * kAlignment);
}

/// The stage of a network that a name belongs to: "layer1" of "layer1.0.relu1".
std::string stage_of(const std::string& step) { return step.substr(0, step.find('.')); }

/// Black dashes with white ones between them: seen on light and dark tensors, and no band that would cut a tensor in two.
std::string bound_line(double left, double right, double y) {
  return line(left, y, right, y, "stroke=\"#ffffff\" stroke-width=\"2.2\" stroke-dasharray=\"5 9\" stroke-dashoffset=\"5\"") +
         line(left, y, right, y, "stroke=\"#000000\" stroke-width=\"2.2\" stroke-dasharray=\"9 5\"");
}

class Panel {
 public:
  /// `most_bytes`: the top of the scale of bytes.
  Panel(const Trace& trace, const Replay& replay, const MapOptions& options, const Box& box, size_t most_bytes)
      : trace_(trace),
        replay_(replay),
        bound_(options.lower_bound_bytes),
        peak_step_(options.peak_step),
        x_(box.x),
        y_(box.y),
        width_(box.w),
        height_(box.h),
        top_bytes_(static_cast<double>(std::max({most_bytes, bound_, size_t{1}})) * 1.04) {}
  [[nodiscard]] std::string draw() const {
    std::string svg = text(x_, y_ - 10, 19,
                           std::string(title_of(replay_.strategy)) + ": " + megabytes(replay_.peak_reserved_bytes) +
                               ", waste " + number(100 * replay_.waste(), 1) + " %",
                           "font-weight=\"bold\"");
    const double reserved = height_of(static_cast<double>(replay_.peak_reserved_bytes));
    svg += rectangle(x_, y_ + height_ - reserved, width_, reserved, "fill=\"#efefef\"");
    svg += axes();
    for (size_t i = 0; i < trace_.blocks.size(); ++i) svg += block(i);
    const double at = bound_at();
    svg += bound_line(x_ - 6, x_ + width_ + 6, at);
    for (size_t i = 0; i < trace_.blocks.size(); ++i) svg += name(i);  // drawn last, on top
    if (replay_.strategy == Strategy::kArena) svg += peak();
    return svg;
  }

 private:
  [[nodiscard]] double bound_at() const { return y_ + height_ - height_of(static_cast<double>(bound_)); }

  /// Marks the step that sets the bound: a triangle on the dashed line, and its name.
  [[nodiscard]] std::string peak() const {
    if (peak_step_ < 0 || static_cast<size_t>(peak_step_) >= trace_.steps.size()) return {};
    const double x = x_of(peak_step_ + 0.5), y = bound_at() - 2;
    const std::string words = trace_.steps[static_cast<size_t>(peak_step_)] + " sets the bound";
    const bool left = x + 8 + static_cast<double>(words.size()) * 12 * kLetter > x_ + width_;
    return "<path d=\"M" + number(x) + " " + number(y) + " l-5 -9 h10 z\"/>\n" +
           text(left ? x - 8 : x + 8, y - 1, 12, words, left ? "text-anchor=\"end\"" : "");
  }

  [[nodiscard]] double height_of(double bytes) const { return bytes / top_bytes_ * height_; }
  [[nodiscard]] double x_of(double step) const { return x_ + step / static_cast<double>(trace_.steps.size()) * width_; }

  [[nodiscard]] std::string axes() const {
    std::string svg;
    const double tick = svg::tick(top_bytes_ / 1e6);
    const int digits = tick >= 1 ? 0 : tick >= 0.1 ? 1 : 2;
    for (double mb = 0; mb * 1e6 <= top_bytes_; mb += tick) {
      const double y = y_ + height_ - height_of(mb * 1e6);
      svg += line(x_ - 5, y, x_, y, "stroke=\"#000\"");
      svg += text(x_ - 8, y + 5, 14, number(mb, digits), "text-anchor=\"end\"");
    }
    svg += text(x_ - 8, y_ - 10, 14, "MB", "text-anchor=\"end\"");
    size_t from = 0;
    for (size_t i = 1; i <= trace_.steps.size(); ++i) {
      if (i < trace_.steps.size() && stage_of(trace_.steps[i]) == stage_of(trace_.steps[from])) continue;
      const double left = x_of(static_cast<double>(from)), right = x_of(static_cast<double>(i));
      svg += line(left, y_ + height_, left, y_ + height_ + 6, "stroke=\"#000\"");
      const std::string stage = stage_of(trace_.steps[from]);
      if (static_cast<double>(stage.size()) * 13 * kLetter < right - left) {
        svg += text((left + right) / 2, y_ + height_ + 17, 13, stage, "text-anchor=\"middle\"");
      }
      from = i;
    }
    svg += line(x_, y_ + height_, x_ + width_, y_ + height_, "stroke=\"#000\"");
    svg += line(x_, y_, x_, y_ + height_, "stroke=\"#000\"");
    return svg;
  }

  [[nodiscard]] std::string block(size_t i) const {
    const Trace::Block& b = trace_.blocks[i];
    if (b.bytes == 0) return {};
    // Naive allocation keeps everything to the end. The part that is no longer needed is drawn pale.
    const bool kept = replay_.strategy == Strategy::kSeparate;
    const double left = x_of(b.first_step), right = x_of(b.last_step + 1);
    const double h = height_of(static_cast<double>(replay_.bytes[i]));
    const double y = y_ + height_ - height_of(static_cast<double>(replay_.offsets[i])) - h;
    const bool lasting = b.last_step - b.first_step >= kLasting;
    const std::string fill = b.workspace ? "url(#hatch)" : lasting ? "#3d6f9e" : i % 2 == 0 ? "#9cc3e6" : "#cfe3f4";
    const std::string tip = "<title>" +
                            escaped((b.detail.empty() ? b.label : b.detail) + "\n" + megabytes(b.bytes) + ", steps " +
                                    std::to_string(b.first_step + 1) + " to " + std::to_string(b.last_step + 1) + ", offset " +
                                    megabytes(replay_.offsets[i])) +
                            "</title>";
    std::string svg;
    if (kept && right < x_ + width_) {
      svg += rectangle(right, y, x_ + width_ - right, h, "fill=\"url(#dots)\" stroke=\"#b5b5b5\" stroke-width=\"0.4\"", tip);
    }
    svg +=
        rectangle(left, y, right - left, h, "class=\"t\" fill=\"" + fill + "\" stroke=\"#15304a\" stroke-width=\"0.7\"", tip);
    return svg;
  }

  /// The longest form of the name that fits, horizontally or vertically in the rectangle.
  [[nodiscard]] std::string name(size_t i) const {
    const Trace::Block& b = trace_.blocks[i];
    if (b.bytes == 0 || b.workspace) return {};
    double h = height_of(static_cast<double>(replay_.bytes[i]));
    const double x = x_of(b.first_step), w = x_of(b.last_step + 1) - x;
    double y = y_ + height_ - height_of(static_cast<double>(replay_.offsets[i])) - h;
    if (const double at = bound_at();
        at > y && at < y + h) {  // the dashed line crosses it: write in the larger of the two parts
      const double above = at - y, below = y + h - at;
      if (below > above) y = at;
      h = std::max(above, below);
    }
    const bool on_dark = b.last_step - b.first_step >= kLasting;
    const std::string first = b.label.substr(0, b.label.find(" .. "));
    const std::string color = on_dark ? "fill=\"#ffffff\"" : "fill=\"#000000\"";
    for (const double size : {14.0, 11.0}) {
      for (const std::string& label : {b.label, first}) {
        const double length = static_cast<double>(label.size()) * size * kLetter + 4;
        if (length <= w && size + 3 <= h) {
          return text(x + w / 2, y + h / 2 + size * 0.35, size, label, "class=\"n\" text-anchor=\"middle\" " + color);
        }
        if (length <= h && size + 1 <= w) {
          const double cx = x + w / 2 + size * 0.35, cy = y + h / 2;
          return text(
              cx, cy, size, label,
              "class=\"n\" text-anchor=\"middle\" transform=\"rotate(-90 " + number(cx) + " " + number(cy) + ")\" " + color);
        }
      }
    }
    return {};
  }

  const Trace& trace_;
  const Replay& replay_;
  size_t bound_;
  int32_t peak_step_;
  double x_;
  double y_;
  double width_;
  double height_;
  double top_bytes_;
};

/// What each strategy reserves, on one scale.
std::string bars(std::span<const Replay> replays, size_t bound, double x, double y, double w, double h) {
  double most = static_cast<double>(bound);
  for (const Replay& r : replays) most = std::max(most, static_cast<double>(r.peak_reserved_bytes));
  std::string svg = text(x, y - 10, 19, "Reserved, MB", "font-weight=\"bold\"");
  const double each = w / static_cast<double>(replays.size());
  for (size_t i = 0; i < replays.size(); ++i) {
    const double tall = static_cast<double>(replays[i].peak_reserved_bytes) / most * (h - 24);
    const double left = x + each * static_cast<double>(i);
    svg += rectangle(left + 5, y + h - tall, each - 10, tall, "fill=\"#3d6f9e\" stroke=\"#15304a\"");
    svg += text(left + each / 2, y + h - tall - 6, 13.5, number(static_cast<double>(replays[i].peak_reserved_bytes) / 1e6, 1),
                "text-anchor=\"middle\"");
    svg += text(left + each / 2, y + h + 17, 13, std::string(name_of(replays[i].strategy)), "text-anchor=\"middle\"");
  }
  const double at = y + h - static_cast<double>(bound) / most * (h - 24);
  svg += bound_line(x, x + w, at);
  return svg + line(x, y + h, x + w, y + h, "stroke=\"#000\"");
}

/// Bytes alive at each step, with the steps' numbers, over a single panel.
std::string curve(const Trace& trace, const MapOptions& options, const Box& box) {
  std::vector<double> sums(trace.steps.size(), 0);
  for (const Trace::Block& b : trace.blocks) {
    for (int32_t step = b.first_step; step <= b.last_step; ++step) sums[static_cast<size_t>(step)] += aligned(b.bytes);
  }
  const double top = std::max(1.0, static_cast<double>(options.lower_bound_bytes)) * 1.08;
  const double each = box.w / static_cast<double>(sums.size());
  std::string svg = text(box.x, box.y - 10, 19, "Bytes alive at each step, MB", "font-weight=\"bold\"");
  std::string path = "M" + number(box.x) + " " + number(box.y + box.h);
  for (size_t i = 0; i < sums.size(); ++i) {
    const double left = box.x + each * static_cast<double>(i);
    path += " V" + number(box.y + box.h - sums[i] / top * box.h) + " H" + number(left + each);
  }
  svg += "<path d=\"" + path + " V" + number(box.y + box.h) + " Z\" fill=\"#9cc3e6\" stroke=\"#15304a\"/>\n";
  const double tick = svg::tick(top / 1e6);
  for (double mb = 0; mb * 1e6 <= top; mb += tick) {
    const double y = box.y + box.h - mb * 1e6 / top * box.h;
    svg += line(box.x - 5, y, box.x, y, "stroke=\"#000\"");
    svg += text(box.x - 8, y + 5, 15, number(mb, tick >= 1 ? 0 : tick >= 0.1 ? 1 : 2), "text-anchor=\"end\"");
  }
  const double number_each = std::max(1.0, std::round(svg::tick(static_cast<double>(sums.size()))));
  for (double step = number_each; step <= static_cast<double>(sums.size()); step += number_each) {
    svg += text(box.x + (step - 0.5) * each, box.y + box.h + 18, 15, number(step, 0), "text-anchor=\"middle\"");
  }
  svg += bound_line(box.x - 6, box.x + box.w + 6, box.y + box.h - static_cast<double>(options.lower_bound_bytes) / top * box.h);
  return svg + line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, "stroke=\"#000\"");
}

/// The blocks that are alive at the step that sets the bound, largest first, beside a single panel.
std::string peak_list(const Trace& trace, const MapOptions& options, double x, double y) {
  std::vector<const Trace::Block*> alive;
  for (const Trace::Block& b : trace.blocks) {
    if (b.bytes > 0 && b.first_step <= options.peak_step && options.peak_step <= b.last_step) alive.push_back(&b);
  }
  std::stable_sort(alive.begin(), alive.end(), [](const auto* a, const auto* b) { return a->bytes > b->bytes; });
  constexpr size_t kMost = 10;
  const std::string& peak_name = trace.steps[static_cast<size_t>(options.peak_step)];
  std::string svg = text(x, y, 19, "Peak: " + megabytes(options.lower_bound_bytes), "font-weight=\"bold\"");
  svg += text(x, y += 26, 16, "step " + std::to_string(options.peak_step + 1) + (peak_name.empty() ? "" : ", " + peak_name));
  for (size_t i = 0; i < std::min(alive.size(), kMost); ++i) {
    svg += text(x, y += 30, 15, alive[i]->label.substr(0, alive[i]->label.find(" .. ")));
    svg += text(x + 12, y += 19, 15, megabytes(alive[i]->bytes));
  }
  if (alive.size() > kMost) svg += text(x, y += 26, 15, "and " + std::to_string(alive.size() - kMost) + " smaller");
  return svg;
}

std::string legend(double x, double y) {
  std::string svg = text(x, y, 19, "Legend", "font-weight=\"bold\"");
  const std::array<std::pair<const char*, const char*>, 5> entries{{{"#cfe3f4", "read soon after"},
                                                                    {"#3d6f9e", "lives 5 steps or more"},
                                                                    {"url(#hatch)", "workspace of a step"},
                                                                    {"url(#dots)", "kept, not read any more"},
                                                                    {"#efefef", "reserved, empty"}}};
  for (const auto& [fill, meaning] : entries) {
    y += 28;
    svg += rectangle(x, y - 15, 26, 18, std::string("fill=\"") + fill + "\" stroke=\"#15304a\" stroke-width=\"0.7\"");
    if (fill == entries.front().first) {  // two alternating tones, so that neighbours differ
      svg += rectangle(x + 13, y - 15, 13, 18, "fill=\"#9cc3e6\" stroke=\"#15304a\" stroke-width=\"0.7\"");
    }
    svg += text(x + 36, y, 15, meaning);
  }
  y += 28;
  svg += line(x, y - 6, x + 26, y - 6, "stroke=\"#000\" stroke-width=\"2.2\" stroke-dasharray=\"9 5\"");
  return svg + text(x + 36, y, 15, "lower bound");
}

}  // namespace

std::string memory_map_svg(const Trace& trace, std::span<const Replay> replays, const MapOptions& options) {
  std::vector<Replay> drawn;
  for (const Replay& r : replays) {
    if (!r.offsets.empty() && drawn.size() < 4) drawn.push_back(r);
  }
  std::string svg =
      svg::begin(kWidth, kHeight, options.title) +
      "<style>.n{pointer-events:none} .t:hover{stroke:#000;stroke-width:3}</style>\n"
      "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
      "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#ffffff\"/><line x1=\"0\" y1=\"0\" "
      "x2=\"0\" y2=\"6\" stroke=\"#333\" stroke-width=\"2\"/></pattern>"
      "<pattern id=\"dots\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><rect width=\"5\" height=\"5\" "
      "fill=\"#fbfbfb\"/><circle cx=\"2.5\" cy=\"2.5\" r=\"0.8\" fill=\"#999\"/></pattern></defs>\n";
  svg += text(30, 44, 30, options.title, "font-weight=\"bold\"");
  const bool one = drawn.size() == 1;
  svg += text(30, 74, 17,
              "Up: offset in memory. Right: time, step after step. One rectangle is one tensor. Dashed: the lower bound, " +
                  megabytes(options.lower_bound_bytes) +
                  (one                 ? "."
                   : options.one_scale ? ". All panels have one scale."
                                       : ". Each panel has its own scale."));
  size_t most = 0;
  for (const Replay& r : drawn) most = std::max(most, r.peak_reserved_bytes);
  for (size_t i = 0; i < drawn.size(); ++i) {
    const size_t column = i % 2, row = i / 2;
    const Box four{62 + static_cast<double>(column) * (kPanelWidth + 62), 128 + static_cast<double>(row) * (kPanelHeight + 82),
                   kPanelWidth, kPanelHeight};
    svg += Panel(trace, drawn[i], options, one ? Box{62, 346, 1230, 500} : four,
                 options.one_scale ? most : drawn[i].peak_reserved_bytes)
               .draw();
  }
  if (one) {
    svg += curve(trace, options, {62, 128, 1230, 150});
    if (options.peak_step >= 0) svg += peak_list(trace, options, 1330, 128);
    svg += legend(1330, 690);
  } else if (!drawn.empty()) {
    svg += bars(drawn, options.lower_bound_bytes, 1350, 128, 225, kPanelHeight);
    svg += legend(1350, 128 + kPanelHeight + 72);
  }
  return svg + "</svg>\n";
}

}  // namespace elek
