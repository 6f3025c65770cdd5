// SPDX-License-Identifier: Apache-2.0
// A trace as PyTorch's memory snapshot, for torch.cuda._memory_viz and pytorch.org/memory_viz. Tests: tests/unit/trace_test.cpp
#pragma once

#include <string>

#include "lab/replay.h"

namespace elek {

/// A pickle of protocol 4. The blocks lie where first fit puts them, in one segment. An event is a microsecond.
[[nodiscard]] std::string snapshot_pickle(const Trace& trace);

}  // namespace elek
