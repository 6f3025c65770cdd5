// SPDX-License-Identifier: Apache-2.0
// The command's output. Results go to standard output as a table or, with --json, as exactly one JSON object. Everything else
// (notes, progress, warnings) goes to standard error. All numbers are formatted here.
// Tests: tests/cli/flow_test.cpp (through the built binary)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace elek::cli {

using Json = nlohmann::ordered_json;

[[nodiscard]] std::string with_commas(int64_t value);                 // 1,082,826
[[nodiscard]] std::string percent(double fraction, int digits = 2);   // 0.934 -> "93.40 %"; NaN -> "-"
[[nodiscard]] std::string decimal(double value, int digits);          // fixed point
[[nodiscard]] std::string significant(double value);                  // five digits: 0.012346, 1.2346e+09
[[nodiscard]] std::string scientific(double value);                   // 1.2e-06
[[nodiscard]] std::string megabytes(size_t bytes, int digits = 2);    // "4.36 MB", MB = 10^6
[[nodiscard]] std::string readable_bytes(size_t bytes);               // B, kB, MB or GB, whichever is easiest to read
[[nodiscard]] std::string readable_count(int64_t value);              // 123.4 M
[[nodiscard]] std::string duration(std::chrono::duration<double> d);  // "4.2 s", "3 min 5 s"

/// Columns as wide as their widest cell. The first column is left-aligned, the others right-aligned. Cells are ASCII.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  /// A row may be shorter than the header. ContractError if it is longer.
  void add(std::vector<std::string> row);
  void add_rule();  // a line across
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // an empty row is a rule
};

/// Where output goes. Copies share only the streams.
class Output {
 public:
  Output(bool json, bool quiet) : json_(json), quiet_(quiet) {}
  void note(const std::string& line) const;    // standard error, unless quiet
  void result(const std::string& text) const;  // standard output; with --json standard error, and not at all when quiet
  void json(const Json& object) const;         // standard output with --json, otherwise nowhere
  /// Keeps results back until release(): a reader that closes the pipe must not end the command before its files are written.
  /// What is still held when the last copy goes is lost, as behind an error.
  void hold() const { held_->on = true; }
  void release() const;
  /// Adds fields to every object before it is printed (the ledger).
  void add_to_json(std::function<void(Json&)> add) { add_to_json_ = std::move(add); }
  /// Called when the command's result is complete, with --json or without, before the object is printed; it may add fields.
  void at_end(std::function<void(Json&)> work) { at_end_ = std::move(work); }
  [[nodiscard]] bool is_json() const noexcept { return json_; }
  [[nodiscard]] bool quiet() const noexcept { return quiet_; }

 private:
  struct Held {
    bool on = false;
    std::string text;
  };
  bool json_;
  bool quiet_;
  std::shared_ptr<Held> held_ = std::make_shared<Held>();
  std::function<void(Json&)> add_to_json_;
  std::function<void(Json&)> at_end_;
};

/// On a terminal: a bar with rate and remaining time. Elsewhere: a plain line every ten seconds and one at the end. kWork: the
/// counted units mean nothing to a reader, so only their share is shown.
class ProgressBar {
 public:
  enum class Counts : uint8_t { kImages, kWork };
  ProgressBar(const Output& output, std::string label, Counts counts = Counts::kImages);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();  // ends the line
  void update(int64_t done, int64_t total);
  void set_label(std::string label) { label_ = std::move(label); }
  [[nodiscard]] std::function<void(int64_t, int64_t)> callback() {
    return [this](int64_t done, int64_t total) { update(done, total); };
  }

 private:
  using Clock = std::chrono::steady_clock;
  void draw(int64_t done, int64_t total, Clock::time_point now);
  bool quiet_;
  bool terminal_;
  std::string label_;
  Counts counts_;
  Clock::time_point start_;
  Clock::time_point last_;
  bool drawn_ = false;
  bool complete_ = false;
};

}  // namespace elek::cli
