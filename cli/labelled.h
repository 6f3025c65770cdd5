// SPDX-License-Identifier: Apache-2.0
// Data as the commands use it: labels that count the network's classes, and warnings about data that cannot give what the
// command is asked for. Tests: tests/cli/labels_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/output.h"
#include "elek/data.h"
#include "elek/graph.h"

namespace elek::cli {

/// DATA whose labels are the model's classes (labelled_for() in elek/data.h), at most its first `limit` samples (0: all). Notes
/// if names gave the labels; warns if the samples hold few of the classes.
[[nodiscard]] std::shared_ptr<const Dataset> labelled_data(const std::string& word, const Model& model, const Output& output,
                                                           int64_t limit = 0);

/// Calibration images in a seeded order: few batches of a folder that is sorted by class still contain every class. 0: all.
/// They are chosen here and not by the loader, so that the overlap with the evaluation images is that of the images really
/// used. Warns if a slice holds few of the classes, or if most of the images are copies.
[[nodiscard]] std::shared_ptr<const Dataset> calibration_data(const std::string& word, const ImageShape& shape, int64_t count,
                                                              uint64_t seed);

}  // namespace elek::cli
