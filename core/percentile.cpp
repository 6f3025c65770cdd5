// SPDX-License-Identifier: Apache-2.0
#include "core/percentile.h"

#include <algorithm>

#include "core/error.h"

namespace elek {

double percentile(std::span<const double> sorted, double share) {
  ELEK_CHECK(!sorted.empty(), "percentile: no values");
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[std::min(rank, sorted.size() - 1)];
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return percentile(values, 0.5);
}

}  // namespace elek
