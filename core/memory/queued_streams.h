// SPDX-License-Identifier: Apache-2.0
// QueuedStreams: streams whose work runs when told to, in any order between streams, so that a pool's reuse rules and races are
// shown and tested without a device. Tests: tests/contract/pool_test.cpp
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "elek/memory.h"

namespace elek {}  // namespace elek
