// SPDX-License-Identifier: Apache-2.0
// Turns the statistics slab into Statistics and BatchMoments. Adds the threads in order; counts follow from the samples run.
// Tests: tests/golden/statistics_test.cpp
#include "backends/read_statistics.h"

#include <algorithm>

#include "backends/cpu/executable.h"
#include "core/error.h"
#include "kernels/cpu/tap_norms.h"

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
    std::vector<kernels::SumArrays> threads;
    threads.reserve(static_cast<size_t>(sums_[i].threads));
    for (int t = 0; t < sums_[i].threads; ++t) threads.push_back(sums_[i].of_thread(t));
    const Watched& w = notes_.watched[i];
    backends::read_value_sums(w, program_.tensors[static_cast<size_t>(w.tensor)].shape, samples_, threads, statistics);
  }
  for (const WatchedTaps& t : notes_.tap_norms) {
    kernels::cpu::reduce_tap_norms(t.plan, doubles_at(statistics_, t.offset), notes_.threads,
                                   backends::add_tap_norms(t.name, t.plan, samples_, statistics));
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
