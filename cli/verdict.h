// SPDX-License-Identifier: Apache-2.0
// The verdict of a report: two sentences and warnings, by fixed rules (docs/report.md lists them). Pure functions of the facts.
// Tests: tests/cli/verdict_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/run_times.h"

namespace elek::cli {

/// What is known about a network, beside the one that it was made from. Accuracies are shares of `samples` images.
struct VerdictFacts {
  int64_t classes = 0;
  int64_t samples = 0;          // 0: its accuracy is not known
  std::optional<double> top1;   // of the network
  std::optional<double> dense;  // of the network that it was made from, on the same images
  bool changed = false;         // something was removed, masked or quantised
  double macs_before = 0, macs_after = 0;
  double bytes_before = 0, bytes_after = 0;  // of the files; before: 0 if not known
  std::optional<Latencies> latency;          // one image, both networks in turns
  int64_t calibration_samples = 0;           // 0: nothing was watched
  int64_t overlap = 0;                       // calibration images that are evaluation images too
  double zero_weights = 0;                   // share of the weights that are zero
  std::vector<std::string> assumptions;      // readings that the source of the network did not show
};

/// The standard error of a share measured on `samples` images.
[[nodiscard]] double standard_error(double share, int64_t samples);

/// Whether the accuracy cannot be told from guessing among the classes: at most two standard errors above it.
[[nodiscard]] bool at_chance(const VerdictFacts& facts);

/// Two sentences: what the network has lost, and what it has won.
[[nodiscard]] std::string verdict_text(const VerdictFacts& facts);
/// What a reader must know before using the network; empty if nothing.
[[nodiscard]] std::vector<std::string> warnings_of(const VerdictFacts& facts);

}  // namespace elek::cli
