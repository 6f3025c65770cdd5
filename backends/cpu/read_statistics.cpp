// SPDX-License-Identifier: Apache-2.0
// From the statistics slab to Statistics and BatchMoments: threads added in order, counts from the samples run.
// Tests: tests/golden/statistics_test.cpp
#include <algorithm>
#include <numeric>

#include "backends/cpu/executable.h"
#include "core/error.h"

namespace elek::backends::cpu {

void CpuExecutable::reset_statistics() {
  for (const kernels::cpu::ChannelSums& s : sums_) s.reset();
  for (const WatchedTaps& t : notes_.tap_norms) {
    std::fill_n(at(statistics_, t.offset), kernels::cpu::tap_norm_bytes(t.plan, notes_.threads), std::byte{0});
  }
  for (const WatchedMoments& m : notes_.batch_moments) {
    std::fill_n(doubles_at(statistics_, m.statistics), 5 * m.channels, 0.0);
  }
  samples_ = 0;
  batches_ = 0;
}

void CpuExecutable::read_statistics(Statistics& statistics) const {
  statistics.kernels = describe_kernels(program_, notes_);
  statistics.samples = samples_;
  for (size_t i = 0; i < sums_.size(); ++i) {
    const Watched& w = notes_.watched[i];
    const ProgramTensor& t = program_.tensors[static_cast<size_t>(w.tensor)];
    const auto channels = static_cast<size_t>(t.shape.channels);
    ValueSums& v = statistics.values[w.name];
    v = {};
    v.channels = t.shape.channels;
    v.samples = samples_;
    v.count = samples_ * t.shape.positions();
    kernels::cpu::SumArrays out;
    std::vector<int64_t> nonfinite(channels);
    out.nonfinite = nonfinite.data();
    const auto want = [&](uint32_t set, auto& vector) {
      if ((w.sums & set) != 0) vector.resize(channels);
      return vector.empty() ? nullptr : vector.data();
    };
    out.sum = want(kActivity, v.sum);
    out.sum_sq = want(kActivity, v.sum_sq);
    out.active = want(kActivity, v.active);
    out.z_sum = want(kMoments, v.z_sum);
    out.z_sum_sq = want(kMoments, v.z_sum_sq);
    out.abs_sum = want(kAbsolute, v.abs_sum);
    out.max = want(kRange, v.max);
    out.fired = want(kPerSample, v.fired);
    out.mean_peak = want(kPerSample, v.mean_peak);
    out.mean_sum = want(kPerSample, v.mean_sum);
    out.mean_sum_sq = want(kPerSample, v.mean_sum_sq);
    sums_[i].reduce(out);
    v.nonfinite = std::accumulate(nonfinite.begin(), nonfinite.end(), int64_t{0});
  }
  for (const WatchedTaps& t : notes_.tap_norms) {
    TapNorms& norms = statistics.tap_norms[t.name];
    norms.channels = t.plan.input.channels;
    norms.kernel = t.plan.kernel;
    norms.samples = samples_;
    norms.norm_sq.assign(static_cast<size_t>(norms.channels * norms.kernel * norms.kernel), 0.0);
    kernels::cpu::reduce_tap_norms(t.plan, doubles_at(statistics_, t.offset), notes_.threads, norms.norm_sq.data());
  }
}

std::vector<BatchMoments> CpuExecutable::batch_moments() const {
  std::vector<BatchMoments> all;
  for (const WatchedMoments& m : notes_.batch_moments) {
    all.push_back(m.average(doubles_at(statistics_, m.statistics) + 3 * m.channels, batches_));
  }
  return all;
}

}  // namespace elek::backends::cpu
