// SPDX-License-Identifier: Apache-2.0
// From the statistics slab to Statistics and BatchMoments: one copy to the host, then plain arithmetic; counts from the samples
// run. Tests: tests/gpu/session_test.cpp. HAS NOT RUN ON A GPU YET.
#include <algorithm>
#include <numeric>

#include "backends/cuda/error.h"
#include "backends/cuda/executable.h"
#include "core/error.h"

namespace elek::backends::cuda {
namespace k = kernels::cuda;

void CudaExecutable::reset_statistics() {
  const DeviceGuard guard(device_);
  upload(statistics_, notes_.fused_bytes, nothing_seen_.data(), nothing_seen_.size());
  samples_ = 0;
  batches_ = 0;
}

void CudaExecutable::read_statistics(Statistics& statistics) const {
  const DeviceGuard guard(device_);
  std::vector<std::byte> slab(notes_.totals_bytes);
  if (!slab.empty()) ELEK_CUDA_CALL(cudaMemcpy(slab.data(), statistics_.data(), slab.size(), cudaMemcpyDeviceToHost));
  statistics.kernels = describe_kernels(program_, notes_);
  statistics.samples = samples_;
  for (const Watched& w : notes_.watched) {
    const ImageShape& shape = program_.tensors[static_cast<size_t>(w.tensor)].shape;
    const auto totals = k::ChannelTotals::lay_out(slab.data() + w.offset, shape.channels, w.sums, 0.0F);
    ValueSums& v = statistics.values[w.name];
    v = {};
    v.channels = shape.channels;
    v.samples = samples_;
    v.count = samples_ * shape.positions();
    v.nonfinite = std::accumulate(totals.arrays.nonfinite, totals.arrays.nonfinite + shape.channels, int64_t{0});
    const auto take = [&](const auto* from, auto& to) {
      if (from != nullptr) to.assign(from, from + shape.channels);
    };
    take(totals.arrays.sum, v.sum);
    take(totals.arrays.sum_sq, v.sum_sq);
    take(totals.arrays.active, v.active);
    take(totals.arrays.z_sum, v.z_sum);
    take(totals.arrays.z_sum_sq, v.z_sum_sq);
    take(totals.arrays.abs_sum, v.abs_sum);
    take(totals.arrays.max, v.max);
    take(totals.arrays.fired, v.fired);
    take(totals.arrays.mean_peak, v.mean_peak);
    take(totals.arrays.mean_sum, v.mean_sum);
    take(totals.arrays.mean_sum_sq, v.mean_sum_sq);
  }
  for (const WatchedTaps& t : notes_.tap_norms) {
    TapNorms& norms = statistics.tap_norms[t.name];
    norms.channels = t.plan.input.channels;
    norms.kernel = t.plan.kernel;
    norms.samples = samples_;
    norms.norm_sq.assign(static_cast<size_t>(norms.channels * norms.kernel * norms.kernel), 0.0);
    k::reduce_tap_norms(t.plan, reinterpret_cast<const double*>(slab.data() + t.offset), norms.norm_sq.data());
  }
}

std::vector<BatchMoments> CudaExecutable::batch_moments() const {
  const DeviceGuard guard(device_);
  std::vector<BatchMoments> all;
  for (const WatchedMoments& m : notes_.batch_moments) {
    std::vector<double> arrays(static_cast<size_t>(5 * m.channels));
    ELEK_CUDA_CALL(
        cudaMemcpy(arrays.data(), at(statistics_, m.statistics), arrays.size() * sizeof(double), cudaMemcpyDeviceToHost));
    all.push_back(m.average(arrays.data() + 3 * m.channels, batches_));
  }
  return all;
}

}  // namespace elek::backends::cuda
