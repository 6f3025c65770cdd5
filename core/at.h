// SPDX-License-Identifier: Apache-2.0
// at(): a signed count as an index of a standard container. Counts are int64_t everywhere in elek, containers want size_t; this
// is the one cast between them. It checks nothing: whoever calls it knows that the count is not negative.
// Tests: every folder that indexes by counts
#pragma once

#include <cstddef>
#include <cstdint>

namespace elek {

[[nodiscard]] constexpr size_t at(int64_t i) noexcept { return static_cast<size_t>(i); }

}  // namespace elek
