// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace elek::cli {
namespace {

std::string formatted(const char* format, double value, int digits) {
  std::array<char, 64> text{};
  (void)std::snprintf(text.data(), text.size(), format, digits, value);
  return text.data();
}

/// Whether the terminal cannot erase a line, as in an editor's shell.
bool is_dumb() {
  const char* const kind = std::getenv("TERM");
  return kind == nullptr || std::string_view(kind) == "dumb";
}

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kPlainLine{10};
constexpr int kBarWidth = 30;

}  // namespace

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = digits.front() == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string decimal(double value, int digits) { return std::isfinite(value) ? formatted("%.*f", value, digits) : "-"; }
std::string significant(double value) { return formatted("%.*g", value, 5); }
std::string scientific(double value) { return formatted("%.*e", value, 1); }
std::string percent(double fraction, int digits) {
  return std::isfinite(fraction) ? decimal(100 * fraction, digits) + " %" : "-";
}
std::string megabytes(size_t bytes, int digits) { return decimal(static_cast<double>(bytes) / 1e6, digits) + " MB"; }

std::string readable_bytes(size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1000) return std::to_string(bytes) + " B";
  if (value < 1e6) return decimal(value / 1e3, 1) + " kB";
  if (value < 1e9) return decimal(value / 1e6, 2) + " MB";
  return decimal(value / 1e9, 2) + " GB";
}

std::string readable_count(int64_t value) {
  const auto number = static_cast<double>(value);
  if (value < 10000) return std::to_string(value);
  if (number < 1e6) return decimal(number / 1e3, 1) + " k";
  if (number < 1e9) return decimal(number / 1e6, 2) + " M";
  return decimal(number / 1e9, 2) + " G";
}

std::string duration(std::chrono::duration<double> d) {
  const double seconds = d.count();
  if (!(seconds < 60)) {
    const auto whole = static_cast<int64_t>(std::lround(seconds));
    return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  }
  return decimal(seconds, 1) + " s";
}

void Table::add(std::vector<std::string> row) {
  ELEK_CHECK(!row.empty() && row.size() <= rows_.front().size(), "table row of " + std::to_string(row.size()) + " cells");
  rows_.push_back(std::move(row));
}

void Table::add_rule() { rows_.emplace_back(); }

std::string Table::text() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  size_t total = 2 * (widths.size() - 1);
  for (const size_t width : widths) total += width;
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      const std::string padding(widths[i] - row[i].size(), ' ');
      line += i == 0 ? row[i] + padding : padding + row[i];
    }
    if (row.empty()) line.assign(total, '-');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

void Output::note(const std::string& line) const {
  if (!quiet_) std::cerr << line << std::endl;
}

void Output::result(const std::string& text) const {
  if (held_->on) {
    held_->text += text;
    return;
  }
  if (json_) {
    if (!quiet_) std::cerr << text << std::flush;
  } else {
    std::cout << text << std::flush;
  }
}

void Output::release() const {
  held_->on = false;
  const std::string text = std::exchange(held_->text, {});
  if (!text.empty()) result(text);
}

void Output::json(const Json& object) const {
  Json whole = object;
  if (at_end_) at_end_(whole);
  if (!json_) return;
  if (add_to_json_) add_to_json_(whole);
  std::cout << whole.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
}

ProgressBar::ProgressBar(const Output& output, std::string label, Counts counts)
    : quiet_(output.quiet()),
      terminal_(isatty(STDERR_FILENO) == 1 && !is_dumb()),
      label_(std::move(label)),
      counts_(counts),
      start_(Clock::now()),
      last_(start_) {}

ProgressBar::~ProgressBar() {
  if (terminal_ && drawn_) (void)std::fputs("\n", stderr);
}

void ProgressBar::update(int64_t done, int64_t total) {
  if (quiet_ || total <= 0 || complete_) return;
  const Clock::time_point now = Clock::now();
  complete_ = done >= total;
  const bool due = now - last_ >= (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlainLine));
  if (due || complete_ || (terminal_ && !drawn_)) draw(done, total, now);
}

void ProgressBar::draw(int64_t done, int64_t total, Clock::time_point now) {
  last_ = now;
  drawn_ = true;
  const std::chrono::duration<double> elapsed = now - start_;
  const double rate = elapsed.count() > 0 ? static_cast<double>(done) / elapsed.count() : 0;
  std::string figures = counts_ == Counts::kImages
                            ? with_commas(done) + "/" + with_commas(total) + " images  " + decimal(rate, 0) + "/s  "
                            : percent(static_cast<double>(done) / static_cast<double>(total), 0) + "  ";
  if (done >= total) {
    figures += duration(elapsed);
  } else if (rate > 0) {
    figures += duration(std::chrono::duration<double>(static_cast<double>(total - done) / rate)) + " left";
  }
  if (!terminal_) {
    (void)std::fprintf(stderr, "%s: %s\n", label_.c_str(), figures.c_str());
    return;
  }
  const auto filled = static_cast<size_t>(std::clamp<int64_t>(kBarWidth * done / total, 0, kBarWidth));
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  (void)std::fprintf(stderr, "\r\033[K%-12s [%s] %s", label_.c_str(), bar.c_str(), figures.c_str());
  (void)std::fflush(stderr);
}

}  // namespace elek::cli
