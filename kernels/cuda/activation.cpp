// SPDX-License-Identifier: Apache-2.0
// See activation.h.
#include "kernels/cuda/activation.h"

#include <string>

#include "core/error.h"

namespace elek::kernels::cuda {

void check_activation(const CudaActivation& view, const char* op, const char* name) {
  const std::string who = std::string(op) + ": " + name;
  ELEK_CHECK(view.data != nullptr, who + " has no data");
  ELEK_CHECK(view.dtype == DType::kF32 || view.dtype == DType::kF16 || view.dtype == DType::kBF16,
             who + " is " + std::string(name_of(view.dtype)) + ", expected F32, F16 or BF16");
  ELEK_CHECK(view.samples >= 1 && view.shape.channels >= 1 && view.shape.height >= 1 && view.shape.width >= 1 &&
                 view.channel_pitch >= view.shape.channels,
             who + " is " + std::to_string(view.samples) + " x " + to_string(view.shape) + " with a channel pitch of " +
                 std::to_string(view.channel_pitch) + ", expected extents >= 1 and a pitch >= channels");
  ELEK_CHECK(view.channel_pitch <= INT32_MAX && view.shape.height <= INT32_MAX && view.shape.width <= INT32_MAX,
             who + " is " + to_string(view.shape) + ": an extent does not fit into 31 bits");
  ELEK_CHECK(reinterpret_cast<uintptr_t>(view.data) % size_of(view.dtype) == 0,
             who + " is not aligned to its " + std::to_string(size_of(view.dtype)) + "-byte elements");
  (void)checked_bytes(Shape{view.samples, view.shape.height, view.shape.width, view.channel_pitch}, view.dtype);
}

}  // namespace elek::kernels::cuda
