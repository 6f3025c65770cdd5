// SPDX-License-Identifier: Apache-2.0
// Measures one session step by step: whole runs and runs with every step timed, in turns, on random pixels; and puts the work,
// roof and time of each step together. Prints nothing. Tests: tests/golden/step_rounds_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/session.h"
#include "engine/profile.h"
#include "plan/program.h"

namespace elek {

/// Medians over the rounds.
struct StepMedians {
  std::vector<double> runs_ms;  // whole runs, sorted
  std::vector<double> step_us;
  double rest_us = 0;
};

/// Rounds of one session with random pixels. The constructor does three runs to warm up.
class StepRounds {
 public:
  StepRounds(Session& session, uint64_t seed);
  /// One whole run and one with every step timed. With `warm` an untimed run comes first, because the caches hold another
  /// session's data.
  void take(bool warm = false);
  [[nodiscard]] size_t count() const noexcept { return rests_.size(); }
  [[nodiscard]] StepMedians medians() const;

 private:
  Session* session_;
  std::vector<double> runs_ms_;
  std::vector<std::vector<double>> steps_us_;
  std::vector<double> rests_;
};

/// Whether there are enough rounds: at least five, and `seconds` have passed. Throws Interrupted if the user asks to stop.
class EnoughRounds {
 public:
  explicit EnoughRounds(double seconds);
  [[nodiscard]] bool operator()(size_t rounds) const;

 private:
  double until_s_;
};

/// One step with its time, work and roof.
struct StepRow {
  const ProgramStep* step = nullptr;
  double us = 0;
  StepWork work;
  Roof roof;
  [[nodiscard]] double flops_per_second() const { return us > 0 ? 1e6 * work.flops / us : 0; }
  [[nodiscard]] double share_of_peak() const { return us > 0 ? roof.us / us : 0; }
};
[[nodiscard]] std::vector<StepRow> rows_of(const Session& session, const StepMedians& measured, const Peaks& peaks);
/// The roof of the session's step i, if its kernel did this share (`arithmetic`) of the definition's multiply-adds.
[[nodiscard]] Roof roof_with(const Session& session, size_t i, double arithmetic, const Peaks& peaks);

}  // namespace elek
