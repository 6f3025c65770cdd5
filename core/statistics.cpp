// SPDX-License-Identifier: Apache-2.0
// Merges statistics: checks everything, then adds sums and takes maxima (NaN wins: it must not be lost).
// Tests: tests/golden/statistics_test.cpp, tests/models/statistics_merge_test.cpp
#include "elek/statistics.h"

#include <type_traits>

#include "core/error.h"
#include "core/runtime.h"
#include "core/sums.h"

namespace elek {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& mine, const std::string& theirs) {
  throw InputError("statistics of different " + what + " cannot be merged: expected " + mine + ", found " + theirs);
}

template <typename T>
void same(const std::string& what, const T& mine, const T& theirs) {
  if (!(mine == theirs)) refuse(what, std::to_string(mine), std::to_string(theirs));
}

std::string tap_name(Tap tap) { return tap == Tap::kRelu ? "relu" : "conv"; }

template <typename Map>
void check_names(const std::string& what, const Map& mine, const Map& theirs) {
  for (const auto& [name, unused] : mine) {
    if (!theirs.contains(name)) refuse(what, "'" + name + "'", "no '" + name + "'");
  }
  for (const auto& [name, unused] : theirs) {
    if (!mine.contains(name)) refuse(what, "no '" + name + "'", "'" + name + "'");
  }
}

/// Counts may come from files with any content, so adding them must not overflow.
void check_count(const std::string& name, int64_t mine, int64_t theirs) {
  int64_t unused = 0;
  if (__builtin_add_overflow(mine, theirs, &unused)) {
    throw InputError("statistics cannot be merged: the counts of '" + name + "' would exceed 2^63: " + std::to_string(mine) +
                     " and " + std::to_string(theirs));
  }
}

void check_sums(const std::string& name, const ValueSums& a, const ValueSums& b) {
  same("channel counts of '" + name + "'", a.channels, b.channels);
  for_each_sum([&](const SumRow&, const auto& mine,
                   const auto& theirs) { same("sets of sums of '" + name + "'", mine.size(), theirs.size()); },
               a, b);
  check_count(name, a.samples, b.samples);
  check_count(name, a.count, b.count);
  check_count(name, a.nonfinite, b.nonfinite);
  for_each_sum(
      [&]<typename T>(const SumRow&, const std::vector<T>& mine, const std::vector<T>& theirs) {
        if constexpr (std::is_same_v<T, int64_t>) {
          for (size_t c = 0; c < mine.size(); ++c) check_count(name, mine[c], theirs[c]);
        }
      },
      a, b);
}

template <typename T>
void combine_all(Combine how, std::vector<T>& to, const std::vector<T>& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = combined(how, to[i], from[i]);
}

void merge_sums(ValueSums& to, const ValueSums& from) {
  to.samples += from.samples;
  to.count += from.count;
  to.nonfinite += from.nonfinite;
  for_each_sum([](const SumRow& row, auto& mine, const auto& theirs) { combine_all(row.combine, mine, theirs); }, to, from);
}

}  // namespace

void Statistics::merge(const Statistics& other) {
  if (model_hash != other.model_hash) refuse("models", to_hex(model_hash), to_hex(other.model_hash));
  if (tap != other.tap) refuse("taps", tap_name(tap), tap_name(other.tap));
  same("thresholds", threshold, other.threshold);
  if (precision != other.precision) refuse("precisions", precision, other.precision);
  check_names("watched values", values, other.values);
  check_names("watched inputs", tap_norms, other.tap_norms);
  for (const auto& [name, mine] : values) check_sums(name, mine, other.values.at(name));
  for (const auto& [name, mine] : tap_norms) {
    const TapNorms& theirs = other.tap_norms.at(name);
    same("channel counts of '" + name + "'", mine.channels, theirs.channels);
    if (mine.kernel != theirs.kernel) {
      refuse("kernel sizes of '" + name + "'", to_string(mine.kernel), to_string(theirs.kernel));
    }
    same("sizes of '" + name + "'", mine.norm_sq.size(), theirs.norm_sq.size());
    check_count(name, mine.samples, theirs.samples);
  }
  check_count("samples", samples, other.samples);
  std::string joined = kernels;
  if (joined.find(other.kernels) == std::string::npos) joined += "; " + other.kernels;
  std::string all_data = data.empty() || other.data.empty() ? data + other.data : data + "; " + other.data;
  // Nothing below throws.
  kernels.swap(joined);
  data.swap(all_data);
  samples += other.samples;
  for (auto& [name, mine] : values) merge_sums(mine, other.values.at(name));
  for (auto& [name, mine] : tap_norms) {
    const TapNorms& theirs = other.tap_norms.at(name);
    mine.samples += theirs.samples;
    combine_all(Combine::kAdd, mine.norm_sq, theirs.norm_sq);
  }
}

}  // namespace elek
