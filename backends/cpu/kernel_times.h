// SPDX-License-Identifier: Apache-2.0
// Measured times of the kernels that fit a convolution, in memory and on disk, and which kernel is the fastest.
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

/// Microseconds for one micro-batch, by algorithm; 0 if the algorithm does not fit or was not timed.
class ConvTimes {
 public:
  [[nodiscard]] double of(ConvAlgorithm algorithm) const noexcept { return us_[static_cast<size_t>(algorithm)]; }
  void set(ConvAlgorithm algorithm, double us) noexcept { us_[static_cast<size_t>(algorithm)] = us; }
  /// The fastest. `usual` is replaced only if another is faster by more than two timings of one kernel can differ.
  [[nodiscard]] ConvAlgorithm winner(ConvAlgorithm usual) const;
  /// "winograd F(4x4) 161.2 us, oneDNN 505.0 us": fastest first.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ConvTimes&, const ConvTimes&) = default;

 private:
  std::array<double, kConvAlgorithms.size()> us_{};
};

/// Times by key. find() looks in memory, then on disk; add() writes to both.
class KernelTimes {
 public:
  explicit KernelTimes(std::string directory) : cache_(std::move(directory)) {}
  /// Null if there are none.
  [[nodiscard]] const ConvTimes* find(const std::string& key);
  /// Warns once per process if the disk cannot be written.
  void add(const std::string& key, const ConvTimes& times);

 private:
  PlanCache cache_;
  std::map<std::string, ConvTimes> known_;
};

/// As BackendEntry::timed_sources.
[[nodiscard]] std::string_view timed_sources() noexcept;
/// The start of every key: processor, threads, oneDNN's version, timed_sources() and instruction set. Other machines and other
/// kernels have other keys.
[[nodiscard]] std::string machine_key(int threads);

}  // namespace elek::backends::cpu
