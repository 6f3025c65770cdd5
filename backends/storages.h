// SPDX-License-Identifier: Apache-2.0
// Which tensors share arena bytes, and how long each range of them is alive. Pure: the backend says of every step what its
// kernel can do, this file whether the network's flow allows it. Tests: tests/unit/storages_test.cpp
#pragma once

#include <vector>

#include "backends/steps.h"

namespace elek::backends {

/// What a step's kernel can do with the storage of what it reads.
struct Overwrites {
  bool alias = false;     // the result is the input, bytes and all
  bool input = false;     // it may write over its input, element by element
  bool residual = false;  // or over its residual
};

enum class Reuse : uint8_t { kInPlace, kNever };  // kNever: everything keeps its own storage (aliases aside)

/// Gives every tensor of the program its storage, with lifetimes, and says where each step writes. A step writes over an
/// operand only if that has its own shape, type and layout, is not the answer, and is read by nobody else now or later.
/// `answer` lives to the end, and so does every tensor with Reuse::kNever and `keep`.
[[nodiscard]] std::vector<Place> share_storages(Program& program, int32_t answer, const std::vector<Overwrites>& can,
                                                Reuse reuse, bool keep);

}  // namespace elek::backends
