// SPDX-License-Identifier: Apache-2.0
// What `elek prepare` builds. `elek demo` uses the same function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "elek/graph.h"

namespace elek::cli {

struct Preparation {
  std::string arch;
  std::string stem;            // "", "imagenet", "cifar"
  std::vector<int64_t> input;  // C, H, W or empty
  std::optional<int64_t> classes;
  std::optional<int64_t> width;
  std::string shortcut;  // "", "A", "B"
  std::string weights;   // a file; if empty, `random` is set
  std::optional<uint64_t> random;
  std::vector<float> mean, stddev;
  std::vector<std::string> labels;
};

/// The complete, validated model. Its tensors come from the context's memory. InputError for a bad file, UsageError if options
/// contradict it.
[[nodiscard]] Model prepare_model(const Preparation& what, Context& context);

/// Reads one class name per line. InputError if the file cannot be read.
[[nodiscard]] std::vector<std::string> read_labels(const std::string& path);

}  // namespace elek::cli
