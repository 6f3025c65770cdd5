// SPDX-License-Identifier: Apache-2.0
// What `elek prepare` builds, in three parts: the model itself (cli/prepared.cpp), the search for the reading that agrees with
// labels (cli/prepare_try.cpp), and the command (cli/prepare.cpp). `elek demo` uses the first. Tests:
// tests/cli/import_test.cpp, tests/cli/usage_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "elek/graph.h"
#include "models/import.h"

namespace elek::cli {

struct Preparation {
  std::string arch;                  // with weights: expected; empty: whatever the file holds
  std::string stem;                  // "", "imagenet", "cifar"
  std::vector<int64_t> input;        // C, H, W or empty
  std::optional<ImageShape> images;  // of the data to measure on, if all have one size
  std::optional<int64_t> classes;
  std::optional<int64_t> width;
  std::string shortcut;   // "", "A", "A-middle", "A-end", "B"
  std::string stride_on;  // "", "1x1", "3x3"
  std::vector<int64_t> strides;
  std::optional<int64_t> stem_stride;
  std::optional<bool> max_pool;
  std::optional<double> epsilon;
  std::string head;
  std::vector<std::string> renames;  // OLD=NEW
  std::string key;
  std::string weights;  // a file; if empty, `random` is set
  std::optional<uint64_t> random;
  std::vector<float> mean, stddev;
  std::vector<std::string> labels;
};

/// The complete, validated model, and how its source was read. Its tensors come from the context's memory. InputError for a bad
/// file, UsageError if options contradict it.
[[nodiscard]] Import prepare_model(const Preparation& what, Context& context);

/// What the options say about a weights file.
[[nodiscard]] WeightsOptions import_options(const Preparation& what);
/// The network of a weights file. With labels it gets these.
[[nodiscard]] Import import_file(const Preparation& what, const WeightsOptions& options, Context& context);

/// Says what was ignored, read beside the file, and assumed, with the option that overrules it.
void tell(const Import& prepared, const Output& output);
/// The option that overrules an assumption.
[[nodiscard]] std::string option_for(Unseen what);

/// Measures every reading of the file that its tensors allow on some images of DATA, prints a table, and returns the options of
/// the one that agrees with the labels. Errors    InputError: no reading is clearly the right one
[[nodiscard]] WeightsOptions choose_reading(const Preparation& what, const std::string& data, int64_t batch, Context& context);

/// UsageError if a value of --mean or --std cannot be one; warns of values of another scale.
void check_pixels(const Preparation& what);

/// Reads one class name per line; a byte order mark and blank lines at the end are left out. InputError if the file cannot be
/// read, is empty, has a blank line, or is not UTF-8.
[[nodiscard]] std::vector<std::string> read_labels(const std::string& path);

}  // namespace elek::cli
