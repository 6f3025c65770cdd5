// SPDX-License-Identifier: Apache-2.0
// Data as the commands use it: labels that count the network's classes, samples of a data set, and warnings about data that
// cannot give what the command is asked for.
// Tests: tests/cli/labels_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/output.h"
#include "elek/data.h"
#include "elek/graph.h"

namespace elek::cli {

/// DATA whose labels are the model's classes (labelled_for() in elek/data.h), at most its first `limit` samples (0: all). Notes
/// if names gave the labels; warns if the samples hold few of the classes.
[[nodiscard]] std::shared_ptr<const Dataset> labelled_data(const std::string& word, const Model& model, const Output& output,
                                                           int64_t limit = 0);

/// Some samples of another data set, in this order.
[[nodiscard]] std::shared_ptr<const Dataset> sample_of(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices);

/// `count` samples (0: all) by a seeded shuffle, so that a part of a folder sorted by class still contains every class. Done
/// here and not in the loader, so that the overlap with the evaluation images is computed for the images really used.
[[nodiscard]] std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed);

/// Calibration images in a seeded order: few batches of a folder that is sorted by class still contain every class. 0: all.
/// Warns if a slice holds few of the classes, or if most of the images are copies.
[[nodiscard]] std::shared_ptr<const Dataset> calibration_data(const std::string& word, const ImageShape& shape, int64_t count,
                                                              uint64_t seed);

}  // namespace elek::cli
