// SPDX-License-Identifier: Apache-2.0
// On disk an entry's `plan` is one double per algorithm of kConvAlgorithms, in their order. The key holds a hash of the
// kernels' sources, made by the build (CMakeLists.txt). When the sources change, old times are not found, and kernels are timed
// again.
// Tests: tests/backends/kernel_times_test.cpp, tests/backends/hash_sources_check.cmake
#include "backends/cpu/kernel_times.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "backends/cpu/onednn.h"
#include "core/error.h"
#include "core/processor.h"
#include "core/runtime.h"
#include "kernel_sources_hash.h"
#include "kernels/cpu/vectors.h"

namespace elek::backends::cpu {
namespace {

/// Two timings of one kernel can differ by this share. The rule's kernel is replaced only if another is faster by more.
constexpr double kNoise = 0.03;

}  // namespace

ConvAlgorithm ConvTimes::winner(ConvAlgorithm usual) const {
  ConvAlgorithm best = usual;
  for (const ConvAlgorithm algorithm : kConvAlgorithms) {
    const double us = of(algorithm);
    if (us <= 0) continue;
    const double to_beat = best == usual ? of(best) * (1 - kNoise) : of(best);
    if (of(best) <= 0 || us < to_beat) best = algorithm;
  }
  return best;
}

std::string ConvTimes::text() const {
  std::vector<ConvAlgorithm> order;
  for (const ConvAlgorithm algorithm : kConvAlgorithms) {
    if (of(algorithm) > 0) order.push_back(algorithm);
  }
  std::stable_sort(order.begin(), order.end(), [this](ConvAlgorithm a, ConvAlgorithm b) { return of(a) < of(b); });
  std::string text;
  for (const ConvAlgorithm algorithm : order) {
    std::array<char, 32> us{};
    (void)std::snprintf(us.data(), us.size(), " %.1f us", of(algorithm));
    text += (text.empty() ? "" : ", ") + std::string(name_of(algorithm)) + us.data();
  }
  return text;
}

const ConvTimes* KernelTimes::find(const std::string& key) {
  if (const auto found = known_.find(key); found != known_.end()) return &found->second;
  const auto entry = cache_.load(key);
  std::array<double, kConvAlgorithms.size()> us{};
  if (!entry || entry.value().plan.size() != sizeof(us)) return nullptr;
  std::memcpy(us.data(), entry.value().plan.data(), sizeof(us));
  ConvTimes times;
  bool any = false;
  for (size_t i = 0; i < us.size(); ++i) {
    if (!(us[i] >= 0 && std::isfinite(us[i]))) return nullptr;
    any = any || us[i] > 0;
    times.set(kConvAlgorithms[i], us[i]);
  }
  return any ? &(known_[key] = times) : nullptr;
}

void KernelTimes::add(const std::string& key, const ConvTimes& times) {
  known_[key] = times;
  const ConvAlgorithm best = times.winner(ConvAlgorithm::kLibrary);
  CachedPlan entry{std::string(name_of(best)), times.of(best), {}};
  for (const ConvAlgorithm algorithm : kConvAlgorithms) {
    const double us = times.of(algorithm);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&us);
    entry.plan.insert(entry.plan.end(), bytes, bytes + sizeof(us));
  }
  const auto stored = cache_.store(key, entry);
  static std::atomic<bool> warned{false};
  if (!stored && !warned.exchange(true)) {
    warn("the plan cache cannot be written (" + stored.reason() + "): the kernels are timed again in the next process");
  }
}

std::string_view timed_sources() noexcept { return kKernelSourcesHash; }

std::string machine_key(int threads) {
  return "cpu " + processor_name() + " | threads " + std::to_string(threads) + " | " + library_name() + ", kernels " +
         kKernelSourcesHash + " " + kernels::cpu::instruction_set();
}

}  // namespace elek::backends::cpu
