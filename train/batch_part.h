// SPDX-License-Identifier: Apache-2.0
// How many images of a batch run forward and back together: as many as the memory allows, at least one. The gradients of the
// parts of a batch are added. Tests: tests/train/gradients_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/graph.h"

namespace elek::train {

/// The batch halved (rounded up) until the values of a step and their gradients need at most `arena_bytes`, or one image is
/// left.
[[nodiscard]] int64_t part_that_fits(const Graph& graph, int64_t batch, int threads, size_t arena_bytes);

}  // namespace elek::train
