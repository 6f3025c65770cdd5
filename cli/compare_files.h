// SPDX-License-Identifier: Apache-2.0
// The files that elek compare reads: models, and the --json outputs of commands, as lists of metrics.
// Tests: tests/cli/compare_test.cpp
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "elek/graph.h"

namespace elek::cli {

enum class Unit : uint8_t { kFraction, kPlain, kCount, kBytes, kMilliseconds, kRate };

struct Metric {
  std::string name;
  Unit unit = Unit::kPlain;
  double value = 0;
  double standard_error = NAN;  // of an accuracy, if the number of images is known
};

/// One column.
struct Source {
  std::string path;
  std::string kind;  // "model", or the command that printed it
  std::vector<Metric> metrics;
  std::optional<Evaluation> evaluation = std::nullopt;  // of a model file: from its last history entry
  /// Null if it has no metric of that name.
  [[nodiscard]] const Metric* find(const std::string& name) const;
};

/// InputError if the file is neither a model nor the output of a command that compare knows.
[[nodiscard]] Source read_source(const std::string& path, Context& context);

}  // namespace elek::cli
