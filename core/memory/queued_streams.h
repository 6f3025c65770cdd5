// SPDX-License-Identifier: Apache-2.0
// QueuedStreams (declared in elek/memory.h): simulated streams. Their work runs when the caller asks for it, in any order
// between streams, so that a pool's rules for reuse can be tested without a device. Tests: tests/contract/pool_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "elek/memory.h"

namespace elek {}  // namespace elek
