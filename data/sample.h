// SPDX-License-Identifier: Apache-2.0
// Samples of a data set in another order: some of them, or a seeded shuffle. And how many of them are copies.
// Tests: tests/data/sample_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "elek/data.h"

namespace elek {

/// Some samples of another data set, in this order.
[[nodiscard]] std::shared_ptr<const Dataset> sample_of(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices);

/// The first `count` samples (0, or more than there are: all).
[[nodiscard]] std::shared_ptr<const Dataset> first_samples(std::shared_ptr<const Dataset> all, int64_t count);

/// `count` samples (0, or more than there are: all) by a seeded shuffle, so that a part of a folder sorted by class still
/// contains every class.
[[nodiscard]] std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed);

/// The part of that order from sample number `first` on: at most `count` samples (0: all that follow). Parts do not overlap.
[[nodiscard]] std::shared_ptr<const Dataset> shuffled_part(std::shared_ptr<const Dataset> all, int64_t first, int64_t count,
                                                           uint64_t seed);

/// The same samples with these labels, one per sample and less than `classes`.
[[nodiscard]] std::shared_ptr<const Dataset> with_labels(std::shared_ptr<const Dataset> all, std::vector<int32_t> labels,
                                                         int64_t classes);

/// How many different contents the samples have. Throws Interrupted if the user asks to stop.
[[nodiscard]] int64_t different_samples(const Dataset& data);

}  // namespace elek
