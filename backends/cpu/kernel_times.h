// SPDX-License-Identifier: Apache-2.0
// How long the kernels that fit a convolution took on this machine, kept in memory and on disk, and which of them wins.
// Tests: tests/backends/kernel_times_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "backends/cpu/conv_kernel.h"
#include "backends/plan_cache.h"

namespace elek::backends::cpu {

/// Microseconds a run of one slice, by algorithm; 0 where the algorithm does not fit or was not timed.
class ConvTimes {
 public:
  [[nodiscard]] double of(ConvAlgorithm algorithm) const noexcept { return us_[static_cast<size_t>(algorithm)]; }
  void set(ConvAlgorithm algorithm, double us) noexcept { us_[static_cast<size_t>(algorithm)] = us; }
  /// The fastest; `usual` unless that is slower by more than what two timings of one kernel differ by.
  [[nodiscard]] ConvAlgorithm winner(ConvAlgorithm usual) const;
  /// "winograd F(4x4) 161.2 us, oneDNN 505.0 us": fastest first.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ConvTimes&, const ConvTimes&) = default;

 private:
  std::array<double, kConvAlgorithms.size()> us_{};
};

/// Times by key. What is not in memory is looked for on disk; what is added goes to both.
class KernelTimes {
 public:
  explicit KernelTimes(std::string directory) : cache_(std::move(directory)) {}
  /// Null if there are none.
  [[nodiscard]] const ConvTimes* find(const std::string& key);
  /// One warning a process if the disk takes nothing.
  void add(const std::string& key, const ConvTimes& times);

 private:
  PlanCache cache_;
  std::map<std::string, ConvTimes> known_;
};

/// As BackendEntry::timed_sources.
[[nodiscard]] std::string_view timed_sources() noexcept;
/// What every key begins with: the processor, oneDNN's version and timed_sources(). Times of another machine or of other
/// kernels have another key.
[[nodiscard]] std::string machine_key(int threads);

}  // namespace elek::backends::cpu
