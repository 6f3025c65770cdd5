// SPDX-License-Identifier: Apache-2.0
// Runs the built `elek` as a child process, like a shell or script, and returns its output and exit code.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace elek::test {

/// A temporary folder, removed with all its contents.
class Folder {
 public:
  Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder();
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::vector<std::string> files() const;  // names, sorted, folders included

 private:
  std::string path_;
};

struct Outcome {
  int exit_code = -1;                  // 1000 + signal if a signal ended it
  double seconds_after_interrupt = 0;  // from the first signal to the end
  uint64_t peak_resident_bytes = 0;    // as wait4 reports it; includes the process that forked it
  std::string out;
  std::string err;
  /// Standard output, which must be exactly one JSON object; fails the test and gives null otherwise.
  [[nodiscard]] nlohmann::json json() const;
};

struct How {
  uint64_t file_bytes_limit = 0;         // RLIMIT_FSIZE; 0 = none
  uint64_t address_space_limit = 0;      // RLIMIT_AS; 0 = none
  std::string out_path;                  // standard output goes to this file (and is not returned); empty = it is returned
  std::function<bool()> interrupt_when;  // SIGINT is sent when this returns true; called every millisecond
  bool interrupt_again = false;          // and once more every millisecond after that
  int interrupt_signal = SIGINT;
  std::function<void(int pid)> meanwhile;  // called every millisecond
};

/// Runs the command with these arguments and an empty standard input. It is killed after five minutes.
[[nodiscard]] Outcome elek_command(const std::vector<std::string>& words, const How& how = {});

void write_text(const std::string& path, const std::string& text);
[[nodiscard]] std::string read_text(const std::string& path);

/// A small network with random weights: ResNet-20, 8/16/32 channels, 3x16x16, `classes` outputs.
[[nodiscard]] std::string tiny_model(const Folder& folder, int classes = 10);
[[nodiscard]] std::string shipped_data();
[[nodiscard]] std::string shipped_model(const Folder& folder);

}  // namespace elek::test
