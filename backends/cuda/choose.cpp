// SPDX-License-Identifier: Apache-2.0
// Tests: tests/deviceless/choose_test.cpp
#include "backends/cuda/choose.h"

#include <cstdio>

namespace elek::backends::cuda {
namespace {

std::string microseconds(double us) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f us", us);
  return text;
}

std::string describe(const WayOption& option) {
  std::string text(name_of(option.way));
  if (!option.timed()) return text + " (not timed)";
  text += " " + microseconds(option.total_us());
  if (option.pass_us > 0) text += " (" + microseconds(option.kernel_us) + " + " + microseconds(option.pass_us) + ")";
  return text;
}

}  // namespace

std::string_view name_of(Way way) {
  switch (way) {
    case Way::kWhole:
      return "fused";
    case Way::kObserve:
      return "split, observe";
    case Way::kEpilogue:
      return "split, epilogue";
  }
  return "?";
}

Result<WayChoice> choose(const WayOption& first, const WayOption& second) {
  const auto absent = [](const WayOption& o) { return std::string(name_of(o.way)) + ": " + o.no; };
  if (!first.no.empty() && !second.no.empty()) return No{absent(first) + "; " + absent(second)};
  if (!first.no.empty()) return WayChoice{false, describe(second) + "; " + absent(first)};
  if (!second.no.empty()) return WayChoice{true, describe(first) + "; " + absent(second)};
  if (!first.timed() || !second.timed()) return WayChoice{true, describe(first) + ", " + describe(second) + ": not compared"};
  const bool faster = first.total_us() <= second.total_us();
  const WayOption& best = faster ? first : second;
  const WayOption& other = faster ? second : first;
  return WayChoice{faster, describe(best) + " <= " + describe(other)};
}

}  // namespace elek::backends::cuda
