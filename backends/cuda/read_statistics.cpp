// SPDX-License-Identifier: Apache-2.0
// Turns the statistics slab into Statistics and BatchMoments: one copy to the host, then plain arithmetic. Counts follow from
// the samples run. Tests: tests/gpu/session_test.cpp.
#include "backends/read_statistics.h"

#include "backends/cuda/error.h"
#include "backends/cuda/executable.h"
#include "core/error.h"
#include "kernels/cuda/tap_norms.h"

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
    backends::read_value_sums(w, shape, samples_, {&totals.arrays, 1}, statistics);
  }
  for (const WatchedTaps& t : notes_.tap_norms) {
    k::reduce_tap_norms(t.plan, reinterpret_cast<const double*>(slab.data() + t.offset),
                        backends::add_tap_norms(t.name, t.plan, samples_, statistics));
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
