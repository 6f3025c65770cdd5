// SPDX-License-Identifier: Apache-2.0
// The on-disk plan cache of every backend: building and timing a layer's kernels takes seconds, reading what came of it takes
// none. One file an entry, named by the hash of its key; written to a temporary file and renamed, checked by key and hash when
// read. What is corrupt, cut short or of another key is no entry: it is made again and written over. Plain bytes. Tests:
// tests/backends/plan_cache_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"

namespace elek::backends {

/// What is kept of the best plan for a problem on a device.
struct CachedPlan {
  std::string engine;         // as the library names it
  double time_us = 0;         // as it was timed; 0 = never timed
  std::vector<uint8_t> plan;  // the backend's own
};

class PlanCache {
 public:
  /// Keeps entries in `directory`, made when the first is stored. Empty: keeps nothing.
  explicit PlanCache(std::string directory) : directory_(std::move(directory)) {}
  /// $ELEK_CACHE_DIR, $XDG_CACHE_HOME/elek or $HOME/.cache/elek, then "plans"; empty if none of them is set. ELEK_CACHE_DIR=off
  /// switches the cache off.
  [[nodiscard]] static std::string default_directory();

  /// The entry of `key`, or why there is none ("no entry", "corrupt", "of another key").
  [[nodiscard]] Result<CachedPlan> load(const std::string& key) const;
  /// Writes it, over whatever was there; "no" if the disk says no. Several processes may store at once: the last one stays.
  Result<bool> store(const std::string& key, const CachedPlan& entry) const;
  [[nodiscard]] std::string path_of(const std::string& key) const;

 private:
  std::string directory_;
};

/// The processor as the system names it, for keys: "AMD EPYC 9V74 80-Core Processor".
[[nodiscard]] const std::string& processor_name();

/// The bytes of an entry, and back.
[[nodiscard]] std::vector<uint8_t> encode(const std::string& key, const CachedPlan& entry);
[[nodiscard]] Result<CachedPlan> decode(const std::string& key, std::span<const uint8_t> bytes);

}  // namespace elek::backends
