// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "elek/session.h"

namespace elek {

std::vector<ClassProbability> top_classes(std::span<const float> logits, size_t count) {
  constexpr float kLeast = -std::numeric_limits<float>::infinity();
  const auto key = [&logits](size_t i) { return std::isnan(logits[i]) ? kLeast : logits[i]; };
  double largest = static_cast<double>(kLeast);
  for (size_t i = 0; i < logits.size(); ++i) largest = std::max(largest, static_cast<double>(key(i)));
  double sum = 0;
  for (const float value : logits) sum += std::exp(static_cast<double>(value) - largest);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&key](size_t a, size_t b) { return key(a) > key(b); });
  order.resize(std::min(count, order.size()));
  std::vector<ClassProbability> top;
  top.reserve(order.size());
  for (const size_t i : order) top.push_back({i, std::exp(static_cast<double>(logits[i]) - largest) / sum});
  return top;
}

}  // namespace elek
