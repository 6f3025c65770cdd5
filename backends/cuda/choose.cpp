// SPDX-License-Identifier: Apache-2.0
// Tests: tests/deviceless/choose_test.cpp
#include "backends/cuda/choose.h"

#include <algorithm>
#include <cstdio>

namespace elek::backends::cuda {
namespace {

std::string microseconds(double us) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f us", us);
  return text;
}

std::string describe(const FusionOption& option) {
  std::string text(name_of(option.fusion));
  if (!option.timed()) return text + " (not timed)";
  text += " " + microseconds(option.total_us());
  if (option.pass_us > 0) text += " (" + microseconds(option.kernel_us) + " + " + microseconds(option.pass_us) + ")";
  return text;
}

}  // namespace

std::string_view name_of(Fusion fusion) {
  switch (fusion) {
    case Fusion::kAll:
      return "fused";
    case Fusion::kAllButSums:
      return "split, observe";
    case Fusion::kNone:
      return "split, epilogue";
  }
  return "?";
}

Result<FusionChoice> choose(std::span<const FusionOption> options) {
  std::string absent;
  const FusionOption* best = nullptr;
  bool timed = true;
  for (const FusionOption& option : options) {
    if (!option.no.empty()) {
      absent += (absent.empty() ? "" : "; ") + std::string(name_of(option.fusion)) + ": " + option.no;
      continue;
    }
    timed = timed && option.timed();
    if (best == nullptr || (timed && option.total_us() < best->total_us())) best = &option;
  }
  if (best == nullptr) return No{absent};
  if (!timed) best = &*std::find_if(options.begin(), options.end(), [](const FusionOption& o) { return o.no.empty(); });
  std::string others;
  for (const FusionOption& option : options) {
    if (option.no.empty() && &option != best) others += (others.empty() ? "" : ", ") + describe(option);
  }
  std::string reason = describe(*best);
  if (!others.empty()) reason += timed ? " <= " + others : ", " + others + ": not compared";
  if (!absent.empty()) reason += "; " + absent;
  return FusionChoice{static_cast<size_t>(best - options.data()), reason};
}

}  // namespace elek::backends::cuda
