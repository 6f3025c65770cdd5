// SPDX-License-Identifier: Apache-2.0
// Fills memory on which kernels are timed. Equal numbers, or zeros, draw less power: an H200 then multiplies 13 % faster than
// with random numbers. Tests: tests/gpu/kernels/random_fill_test.cpp
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace elek::kernels::cuda {

/// Fills `bytes` bytes with a pattern that is an ordinary number in every type, of random sign and digits: as f16 in
/// ±[0.5, 1), as bf16 and f32 in ±[2^-15, 2^-7). The same seed gives the same bytes. `data`: 8-byte aligned; a last part of
/// fewer than 8 bytes is filled too · Launches 1 · Errors ContractError: null or unaligned data
void launch_random_fill(void* data, size_t bytes, uint64_t seed, cudaStream_t stream);

}  // namespace elek::kernels::cuda
