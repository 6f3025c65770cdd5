// SPDX-License-Identifier: Apache-2.0
// Decides which tensors share arena bytes, and how long each range is alive. The backend says what each kernel can overwrite;
// this file checks whether a later step still reads it. A pure function. Tests: tests/golden/storages_test.cpp
#pragma once

#include <vector>

#include "backends/steps.h"

namespace elek::backends {

/// What a step's kernel can do with the storage of its operands.
struct Overwrites {
  bool alias = false;     // the result is the input, byte for byte
  bool input = false;     // may write over its input, element by element
  bool residual = false;  // may write over its residual
};

enum class Reuse : uint8_t { kInPlace, kNever };  // kNever: each tensor has its own storage, except aliases

/// Gives every tensor of the program its storage and lifetime. Returns where each step writes. A step writes over an operand
/// only if the operand has the result's shape, type and layout, is not `answer` (the logits), and is read by no other step, now
/// or later. `answer` lives to the end; with Reuse::kNever and `keep` every tensor does.
[[nodiscard]] std::vector<Place> share_storages(Program& program, int32_t answer, const std::vector<Overwrites>& can,
                                                Reuse reuse, bool keep);

}  // namespace elek::backends
