// SPDX-License-Identifier: Apache-2.0
#include "engine/step_rounds.h"

#include <algorithm>
#include <chrono>

#include "core/percentile.h"
#include "core/runtime.h"
#include "core/step_times.h"
#include "engine/run_times.h"
#include "plan/program.h"

namespace elek {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUps = 3;
constexpr size_t kFewestRounds = 5;

double now_s() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

}  // namespace

StepRounds::StepRounds(Session& session, uint64_t seed) : session_(&session), steps_us_(session.program().steps.size()) {
  fill_with_random_pixels(session.slots()[0], seed);
  StepTimes times;
  for (int i = 0; i < kWarmUps; ++i) (void)session.run_timed(session.slots()[0], times);
}

void StepRounds::take(bool warm) {
  Slot& slot = session_->slots()[0];
  if (warm) (void)session_->run(slot);
  const Clock::time_point before = Clock::now();
  (void)session_->run(slot);
  runs_ms_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  StepTimes times;
  (void)session_->run_timed(slot, times);
  for (size_t i = 0; i < steps_us_.size(); ++i) steps_us_[i].push_back(times.step_us[i]);
  rests_.push_back(times.rest_us);
}

StepMedians StepRounds::medians() const {
  StepMedians made;
  made.runs_ms = runs_ms_;
  std::sort(made.runs_ms.begin(), made.runs_ms.end());
  for (const std::vector<double>& one : steps_us_) made.step_us.push_back(median(one));
  made.rest_us = median(rests_);
  return made;
}

EnoughRounds::EnoughRounds(double seconds) : until_s_(now_s() + seconds) {}

bool EnoughRounds::operator()(size_t rounds) const {
  throw_if_interrupted();
  return rounds >= kFewestRounds && now_s() >= until_s_;
}

namespace {

Roof roof_of_step(const Session& session, const StepWork& work, const Peaks& peaks) {
  const Program& program = session.program();
  const SessionMemory memory = session.memory();
  const int64_t micro_batches = (program.batch + program.micro_batch - 1) / program.micro_batch;
  return roof_of(work, micro_batches, static_cast<double>(memory.weights_bytes + memory.arena_bytes), peaks);
}

}  // namespace

std::vector<StepRow> rows_of(const Session& session, const StepMedians& measured, const Peaks& peaks) {
  const Program& program = session.program();
  std::vector<StepRow> rows;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    StepRow row{&program.steps[i], measured.step_us[i], work_of(session.graph(), program, i, program.batch), {}};
    row.roof = roof_of_step(session, row.work, peaks);
    rows.push_back(row);
  }
  return rows;
}

Roof roof_with(const Session& session, size_t i, double arithmetic, const Peaks& peaks) {
  StepWork work = work_of(session.graph(), session.program(), i, session.program().batch);
  work.kernel_flops = work.flops * arithmetic;
  return roof_of_step(session, work, peaks);
}

}  // namespace elek
