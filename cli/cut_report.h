// SPDX-License-Identifier: Apache-2.0
// The report of a cut by coverage and wanda, as tables and as JSON. Tests: tests/cli/flow_test.cpp
#pragma once

#include <string>

#include "cli/cut.h"

namespace elek::cli {

/// Prints accuracies, sizes, sums and phases.
void print_report(const Dense& dense, const CutResult& result, const Context& context);
/// The same and more as JSON; `why` as why_json() returns it.
[[nodiscard]] Json report_json(const std::string& name, const Dense& dense, const CutResult& result, const std::string& out,
                               const Json& why, const Context& context);
/// {"dense": …, "pruned": …}
template <typename T>
Json before_after(T dense, T pruned) {
  return {{"dense", dense}, {"pruned", pruned}};
}

}  // namespace elek::cli
