// SPDX-License-Identifier: Apache-2.0
// Images made as they are read: for benchmarks and tests that need pixels of any size and no file.
// Tests: tests/data/dataset_test.cpp
#pragma once

#include <cstdint>
#include <memory>

#include "data/dataset.h"

namespace elek {

/// `count` images of `shape` in ten classes. Sample i depends on (seed, i, shape) alone, in integer arithmetic: the same bytes
/// everywhere. An image is a colour and two slopes, drawn per class, under noise of its own, so that channels see values that
/// are neither constant nor white noise. Labels are uniform draws from 0 to 9, which any network of ten classes or more knows.
[[nodiscard]] std::shared_ptr<const Dataset> make_synthetic(int64_t count, uint64_t seed, const ImageShape& shape);

}  // namespace elek
