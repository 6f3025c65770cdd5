// SPDX-License-Identifier: Apache-2.0
#include "cli/distillation_text.h"

#include <chrono>

namespace elek::cli {
namespace {

std::string word_of(DistillReport::End end) {
  switch (end) {
    case DistillReport::End::kDone:
      return "done";
    case DistillReport::End::kTooFew:
      return "too few images";
    case DistillReport::End::kTooSlow:
      return "too slow";
    case DistillReport::End::kInterrupted:
      return "interrupted";
    case DistillReport::End::kDiverged:
      return "diverged";
    case DistillReport::End::kNoMemory:
      return "no memory";
  }
  return "";
}

}  // namespace

std::string distillation_text(const DistillReport& report) {
  using End = DistillReport::End;
  if (report.end == End::kTooFew) {
    return "distillation: not done, because it needs at least " + std::to_string(kLeastImages) + " images";
  }
  if (report.end == End::kTooSlow) {
    return "distillation: not done, because half a pass over the images would take longer than its limit of time";
  }
  if (report.end == End::kNoMemory) {
    return "distillation: not done, because it does not fit into the memory that is left (--repair distill says how much)";
  }
  std::string text = "distillation: loss on " + std::to_string(report.held_out) + " images held out " +
                     significant(report.loss_before) + " -> " + significant(report.loss_after) + ", " +
                     decimal(report.passes, 1) + " passes, " + duration(std::chrono::duration<double>(report.seconds));
  if (report.end == End::kInterrupted) text += "; interrupted: goes on with the best network so far";
  if (report.end == End::kDiverged) text += "; every step size diverged";
  if (!report.improved) text += "; nothing gained: the network before it is kept";
  return text;
}

Json distillation_json(const DistillReport& report) {
  return {{"end", word_of(report.end)},
          {"improved", report.improved},
          {"held_out", report.held_out},
          {"loss_before", report.loss_before},
          {"loss_after", report.loss_after},
          {"passes", report.passes},
          {"step", report.step},
          {"trainer_bytes", report.trainer_bytes},
          {"time_ms", 1e3 * report.seconds}};
}

}  // namespace elek::cli
