// SPDX-License-Identifier: Apache-2.0
// What elek profile measures of one network: whole runs and runs with every step timed, in turns, and each step's work and roof
// beside its time. Tests: tests/cli/profile_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/session.h"
#include "engine/profile.h"
#include "plan/program.h"

namespace elek::cli {

/// Medians over the rounds.
struct Measured {
  std::vector<double> runs_ms;  // whole runs, sorted
  std::vector<double> step_us;
  double rest_us = 0;
};

/// Rounds of one session, over random pixels; three runs to warm up when it is made.
class Rounds {
 public:
  Rounds(Session& session, uint64_t seed);
  /// One whole run, one with every step timed. With `warm` another comes before: the caches hold what another session left.
  void take(bool warm = false);
  [[nodiscard]] size_t count() const noexcept { return rests_.size(); }
  [[nodiscard]] Measured medians() const;

 private:
  Session* session_;
  std::vector<double> runs_ms_;
  std::vector<std::vector<double>> steps_us_;
  std::vector<double> rests_;
};

/// How many rounds are enough: `seconds`, and five at least. Interrupted where the user says so.
class Enough {
 public:
  explicit Enough(double seconds);
  [[nodiscard]] bool operator()(size_t rounds) const;

 private:
  double until_s_;
};

/// One step as it is told.
struct Row {
  const ProgramStep* step = nullptr;
  double us = 0;
  StepWork work;
  Roof roof;
  [[nodiscard]] double flops_per_second() const { return us > 0 ? 1e6 * work.flops / us : 0; }
  [[nodiscard]] double share_of_peak() const { return us > 0 ? roof.us / us : 0; }
};
[[nodiscard]] std::vector<Row> rows_of(const Session& session, const Measured& measured, const Peaks& peaks);
/// The roof of the session's step i where its kernel did the share `arithmetic` of the definition's multiply-adds.
[[nodiscard]] Roof roof_with(const Session& session, size_t i, double arithmetic, const Peaks& peaks);

/// A kernel's name without the instruction set, which is the same for all: "oneDNN jit + epilogue", "winograd F(4x4)".
[[nodiscard]] std::string short_kernel(const std::string& kernel);
/// At most `width` characters, the beginning of what is too long left out.
[[nodiscard]] std::string fit(const std::string& text, size_t width);

}  // namespace elek::cli
