// SPDX-License-Identifier: Apache-2.0
// The cache of kernel choices on disk, for every backend. Building and timing a layer's kernels takes seconds; reading the
// result takes almost no time. One file per entry, named by the hash of its key, written to a temporary file and renamed. A
// file that is corrupt, too short or of another key is ignored and overwritten.
// Tests: tests/backends/plan_cache_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"

namespace elek::backends {

/// The best plan for a problem on a device.
struct CachedPlan {
  std::string engine;         // as the library names it
  double time_us = 0;         // as measured; 0 = never timed
  std::vector<uint8_t> plan;  // in the backend's own format
};

class PlanCache {
 public:
  /// Stores entries in `directory`, which is made with the first entry. Empty: stores nothing.
  explicit PlanCache(std::string directory) : directory_(std::move(directory)) {}
  /// $ELEK_CACHE_DIR, $XDG_CACHE_HOME/elek or $HOME/.cache/elek, then "plans"; empty if none of them is set. ELEK_CACHE_DIR=off
  /// switches the cache off.
  [[nodiscard]] static std::string default_directory();

  /// The entry of `key`, or the reason why there is none ("no entry", "corrupt", "of another key").
  [[nodiscard]] Result<CachedPlan> load(const std::string& key) const;
  /// Writes the entry over any older one; No{reason} if the disk refuses. If several processes store at once, the last one
  /// stays.
  Result<bool> store(const std::string& key, const CachedPlan& entry) const;
  [[nodiscard]] std::string path_of(const std::string& key) const;

 private:
  std::string directory_;
};

/// An entry as bytes, and back.
[[nodiscard]] std::vector<uint8_t> encode(const std::string& key, const CachedPlan& entry);
[[nodiscard]] Result<CachedPlan> decode(const std::string& key, std::span<const uint8_t> bytes);

}  // namespace elek::backends
