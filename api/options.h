// SPDX-License-Identifier: Apache-2.0
// Turns the C interface's options and numbers into the engine's. A value that is not possible is a UsageError naming the field.
// Tests: tests/api/options_test.cpp
#pragma once

#include <cstdint>

#include "elek/c.h"
#include "elek/session.h"
#include "elek/types.h"
#include "plan/program.h"

namespace elek::api {

/// The caller's options in this library's form; null: all defaults.
[[nodiscard]] elek_options known_options(const elek_options* given);

[[nodiscard]] Device device_of(int32_t device, int32_t index);

/// All options except the memory, which CallerMemory makes. With `watch`, the graph's ReLUs are watched.
[[nodiscard]] SessionOptions session_options(const elek_options& options, const Graph& graph);

/// Sets `needed_bytes`, `micro_batch` and the four parts; held_bytes and peak_bytes are 0.
[[nodiscard]] elek_memory memory_figures(const SessionMemory& memory, size_t packing_bytes, const Program& program);

/// Copies as many fields as the caller's struct has. UsageError if it is null or has no struct_size.
void write_memory(elek_memory* to, const elek_memory& from);

}  // namespace elek::api
