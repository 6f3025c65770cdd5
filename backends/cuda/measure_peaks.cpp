// SPDX-License-Identifier: Apache-2.0
// The matrix product is cuBLASLt's, like the classifier's. The copies are the driver's; they use the same memory as any kernel.
// A copy inside the L2 cache is limited by the cache.
#include "backends/cuda/measure_peaks.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "backends/cuda/cudnn/plan_store.h"
#include "backends/cuda/device.h"
#include "backends/cuda/error.h"
#include "backends/cuda/linear.h"
#include "core/error.h"
#include "elek/memory.h"
#include "kernels/cuda/random_fill.h"

namespace elek::backends::cuda {
namespace {

constexpr int64_t kSide = 8192;  // of the product: takes tens of milliseconds in f32, a millisecond in f16, on the largest GPUs
constexpr size_t kSmallestSet = size_t{2} << 20;
constexpr size_t kLargestSet = size_t{512} << 20;

double best_flops(Precision precision, MemoryResource& memory, CUstream_st* stream) {
  LinearProblem p;
  p.samples = p.in_features = p.out_features = p.y_pitch = kSide;
  p.precision = precision;
  const auto linear = Linear::make(p);
  if (!linear) throw DeviceError("measuring the peak: " + linear.reason());
  const Linear& product = *linear.value();
  const size_t operand = checked_bytes(Shape{kSide, kSide}, storage_of(precision));
  const Buffer x(operand, memory, "measuring the peak", {stream});
  const Buffer w(operand, memory, "measuring the peak", {stream});
  const Buffer y(checked_bytes(Shape{kSide, kSide}, DType::kF32), memory, "measuring the peak", {stream});
  const Buffer workspace(std::max<size_t>(product.workspace_bytes(), 1), memory, "measuring the peak", {stream});
  kernels::cuda::launch_random_fill(x.data(), operand, 1, stream);
  kernels::cuda::launch_random_fill(w.data(), operand, 2, stream);
  const double us = time_us(
      stream, [&] { product.run(x.data(), w.data(), nullptr, static_cast<float*>(y.data()), workspace.data(), stream); });
  return 2e6 * static_cast<double>(kSide) * static_cast<double>(kSide) * static_cast<double>(kSide) / us;
}

}  // namespace

Peaks measure_peaks(Precision precision, MemoryResource& memory, CUstream_st* stream) {
  Peaks peaks;
  peaks.flops = best_flops(precision, memory, stream);
  const Buffer set(kLargestSet, memory, "measuring memory", {stream});
  auto* base = static_cast<std::byte*>(set.data());
  kernels::cuda::launch_random_fill(base, kLargestSet, 3, stream);
  for (size_t bytes = kSmallestSet; bytes <= kLargestSet; bytes *= 4) {
    const double us = time_us(
        stream, [&] { ELEK_CUDA_CALL(cudaMemcpyAsync(base + bytes / 2, base, bytes / 2, cudaMemcpyDeviceToDevice, stream)); });
    const double rate = 1e6 * static_cast<double>(bytes) / us;
    peaks.bandwidths.push_back({bytes, rate, rate});  // reading alone is not measured; on such memory it is no faster
  }
  return peaks;
}

}  // namespace elek::backends::cuda
