// SPDX-License-Identifier: Apache-2.0
#include "core/paired.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace elek {
namespace {

double variance_of_draws(const Judged& judged) {
  if (judged.draws.size() < 2) return 0;
  const double spread = spread_of(judged.draws);
  return spread * spread / static_cast<double>(judged.draws.size());
}

}  // namespace

bool Estimate::is_significant() const noexcept { return std::fabs(value) > 2 * standard_error; }

Estimate mean_of(std::span<const double> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  Estimate estimate;
  for (const double value : values) estimate.value += value / n;
  double squares = 0;
  for (const double value : values) squares += (value - estimate.value) * (value - estimate.value);
  if (n > 1) estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

double spread_of(std::span<const double> draws) {
  return mean_of(draws).standard_error * std::sqrt(static_cast<double>(draws.size()));
}

Estimate paired_difference(const Judged& a, const Judged& b) {
  ELEK_CHECK(a.right.size() == b.right.size(), "paired difference of " + std::to_string(a.right.size()) + " and " +
                                                   std::to_string(b.right.size()) + " images, expected the same images");
  std::vector<double> differences(a.right.size());
  for (size_t i = 0; i < differences.size(); ++i) {
    differences[i] = static_cast<double>(a.right[i]) - static_cast<double>(b.right[i]);
  }
  Estimate estimate = mean_of(differences);
  estimate.standard_error =
      std::sqrt(estimate.standard_error * estimate.standard_error + variance_of_draws(a) + variance_of_draws(b));
  return estimate;
}

}  // namespace elek
