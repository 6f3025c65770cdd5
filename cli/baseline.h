// SPDX-License-Identifier: Apache-2.0
// elek bench --baseline FILE --fail-above 3%: is this network slower than it was, or than another one? FILE is the --json
// output of an earlier elek bench on this machine, or a model file, which then runs in turns with this one. Times are compared
// as logarithms of the medians of blocks of runs, with a 95 % interval: in turns by the differences of neighbouring blocks,
// which other work on the machine disturbs alike; against a file by Welch's interval, which cannot know how the machine has
// changed since. Tests: tests/cli/baseline_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "core/mean_interval.h"

namespace elek::cli {

/// Slower than --fail-above allows. Exit code 6, so that a script can tell it from a failure.
class TooSlow final : public Error {
 public:
  explicit TooSlow(const std::string& message) : Error(6, message) {}
};

/// "3%" -> 0.03. UsageError for anything else.
[[nodiscard]] double parse_fail_above(const std::string& text);

/// What must be the same in both measurements.
struct BenchConditions {
  std::string processor;
  int cores = 0;
  std::string device;
  std::string precision;
  int64_t batch = 0;
  int threads = 0;
};
[[nodiscard]] Json conditions_json(const BenchConditions& conditions);

/// Medians of up to 20 blocks of consecutive runs, in milliseconds. At least two; needs two times.
[[nodiscard]] std::vector<double> block_medians(const std::vector<double>& ms);

/// The block medians of an earlier `elek bench --json`.
/// Errors    InputError: the file is not such an output · UsageError: it was measured under other conditions (all are named)
[[nodiscard]] std::vector<double> read_baseline(const std::string& path, const BenchConditions& now);

/// Whether the file is a JSON text (else it is taken as a model).
[[nodiscard]] bool is_json_file(const std::string& path);

/// The time of this network over that of the baseline: 1.05 is 5 % slower.
struct Slowdown {
  MeanInterval ratio;
  bool in_turns = false;
};
[[nodiscard]] Slowdown slowdown(const std::vector<double>& now_ms, const std::vector<double>& baseline_ms, bool in_turns);

/// "1.2 % faster than base.json (0.8 to 1.6 %)", and whether the interval excludes "equally fast".
[[nodiscard]] std::string slowdown_text(const Slowdown& slowdown, const std::string& baseline);
[[nodiscard]] Json slowdown_json(const Slowdown& slowdown);

/// TooSlow if the ratio lies above 1 + fail_above, and its interval above 1.
void check_slowdown(const Slowdown& slowdown, double fail_above, const std::string& baseline);

/// Two entries, latency and peak RSS, for actions that draw benchmarks over time (github-action-benchmark,
/// customSmallerIsBetter): [{"name", "unit", "value", "range", "extra"}].
[[nodiscard]] Json action_json(const std::string& name, const std::vector<double>& block_ms, size_t peak_rss_bytes,
                               const BenchConditions& conditions);

}  // namespace elek::cli
