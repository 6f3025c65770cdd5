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

Result<FusionChoice> choose(const FusionOption& first, const FusionOption& second) {
  const auto absent = [](const FusionOption& o) { return std::string(name_of(o.fusion)) + ": " + o.no; };
  if (!first.no.empty() && !second.no.empty()) return No{absent(first) + "; " + absent(second)};
  if (!first.no.empty()) return FusionChoice{false, describe(second) + "; " + absent(first)};
  if (!second.no.empty()) return FusionChoice{true, describe(first) + "; " + absent(second)};
  if (!first.timed() || !second.timed())
    return FusionChoice{true, describe(first) + ", " + describe(second) + ": not compared"};
  const bool faster = first.total_us() <= second.total_us();
  const FusionOption& best = faster ? first : second;
  const FusionOption& other = faster ? second : first;
  return FusionChoice{faster, describe(best) + " <= " + describe(other)};
}

}  // namespace elek::backends::cuda
