// SPDX-License-Identifier: Apache-2.0
// Images that are made as they are read, for benchmarks and tests that need pixels of any size and no file.
// Tests: tests/data/dataset_test.cpp
#pragma once

#include <cstdint>
#include <memory>

#include "elek/data.h"

namespace elek {

/// `count` images of `shape` in ten classes. Sample i depends only on (seed, i, shape), in integer arithmetic: the same bytes
/// on every machine. An image is a colour and two slopes, drawn per class, plus noise of its own. So channels see values that
/// are neither constant nor white noise. Labels are uniform draws from 0 to 9; they are valid for any network of at least ten
/// classes.
[[nodiscard]] std::shared_ptr<const Dataset> make_synthetic(int64_t count, uint64_t seed, const ImageShape& shape);

}  // namespace elek
