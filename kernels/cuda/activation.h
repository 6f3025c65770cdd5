// SPDX-License-Identifier: Apache-2.0
// The activations that the CUDA kernels read and write: NHWC with a channel pitch, element type chosen at run time.
// Every launcher of this folder follows the same rules:
//   Stream   enqueued on `stream`; never synchronises, allocates nothing; the caller provides the workspace
//   Errors   ContractError before anything is enqueued (shapes, types, null data, workspace too small);
//            DeviceError if the launch itself is refused. Errors while a kernel runs: at the caller's next synchronisation.
//   Bits     no float atomics, and grids do not depend on the device: same shape and input, same bits, on every GPU
//   Tests    compiled for every architecture, and run on the host by the SIMT harness (tests/simt). tests/gpu has the same
//            cases for a GPU (docs/cuda.md).
// Plain C++ without CUDA syntax, so that g++ can include it. Tests: tests/gpu/kernels/*_test.cpp
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "elek/types.h"

namespace elek::kernels::cuda {

/// `samples` samples of `shape` in device memory: element (n, c, h, w) lies at ((n * H + h) * W + w) * channel_pitch + c. Lanes
/// channels … channel_pitch - 1 of a pixel are padding: every kernel here writes zeros there and ignores what it reads there.
/// Types: kF32, kF16, kBF16. Kernels use vector loads if data is 16-byte aligned and channel_pitch is a multiple of the vector
/// (f32: 4, 16-bit types: 8). With another pitch or alignment they load one element at a time. `data` is not const, so that one
/// type serves for reading and writing; inputs are never written.
struct CudaActivation {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t samples = 0;
  ImageShape shape;
  int64_t channel_pitch = 0;
  [[nodiscard]] int64_t rows() const noexcept { return samples * shape.positions(); }  // pixels
};

/// ContractError unless data, samples, shape, pitch (>= channels) and dtype are valid. The message contains `op` and `name`.
void check_activation(const CudaActivation& view, const char* op, const char* name);

/// Threads per block, for all kernels of this folder.
inline constexpr int kBlockThreads = 256;

}  // namespace elek::kernels::cuda
