// SPDX-License-Identifier: Apache-2.0
// at(): converts a count to an index of a standard container. Counts are int64_t everywhere in elek, but containers need
// size_t. It checks nothing: the caller must know that the count is not negative.
// Tests: those of the code that calls it
#pragma once

#include <cstddef>
#include <cstdint>

namespace elek {

[[nodiscard]] constexpr size_t at(int64_t i) noexcept { return static_cast<size_t>(i); }

}  // namespace elek
