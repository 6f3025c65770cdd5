// SPDX-License-Identifier: Apache-2.0
// Tests: tests/train/gradients_test.cpp
#include "train/batch_part.h"

#include "plan/plan.h"
#include "train/program.h"

namespace elek::train {

int64_t part_that_fits(const Graph& graph, int64_t batch, int threads, size_t arena_bytes) {
  int64_t part = batch;
  while (part > 1 && plan(make_train_program(graph, part, threads).memory).arena_bytes > arena_bytes) part = (part + 1) / 2;
  return part;
}

}  // namespace elek::train
