// SPDX-License-Identifier: Apache-2.0
// Criteria that use only a channel's stored values, no weights: positions, rms and std; and frequency, normalized_mean,
// mean_absolute and combined, with the formulas of the Python scripts that elek started from. Each is a function of the sums of
// one watched value.
// Tests: tests/prune/score_test.cpp, tests/prune/seed_metrics_test.cpp
#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/sums.h"
#include "prune/criteria/list.h"
#include "prune/criteria/squares.h"
#include "prune/groups.h"
#include "prune/score.h"

namespace elek::criteria {
namespace {

class Activity final : public SquaresCriterion {
 public:
  /// `sums`: the sets that `score` reads, for one channel of one watched value.
  Activity(Traits traits, uint32_t sums, double (*score)(const ValueSums&, size_t c))
      : SquaresCriterion(std::move(traits)), sums_(sums), score_(score) {}

  void watch(const Graph& graph, const Group& group, Probes& probes) const override {
    for (const ValueId tap : group.watched) probes.values[graph.node(watched_value(graph, tap)).name] |= sums_;
  }

 protected:
  void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const override {
    for (const ValueId tap : group.watched) {
      const std::vector<int64_t> channels = channels_of(model.graph, group, tap);
      const ValueSums& sums = criteria::sums_of(model, statistics, tap);
      for (size_t c = 0; c < channels.size(); ++c) {
        if (channels[c] < 0) continue;
        const double score = score_(sums, c);
        squares[at(channels[c])] += score * std::fabs(score);
      }
    }
  }

 private:
  uint32_t sums_;
  double (*score_)(const ValueSums&, size_t c);
};

double fired_share(const ValueSums& sums, size_t c) {
  return static_cast<double>(sums.fired[c]) / static_cast<double>(sums.samples);
}

/// The mean over samples of the channel's mean m_n, divided by the layer's largest m_n (over all channels and samples); 0 if
/// that is not positive. It can be negative for raw convolutions.
double mean_of_peak(const ValueSums& sums, size_t c) {
  const double peak = *std::max_element(sums.mean_peak.begin(), sums.mean_peak.end());
  return peak > 0 ? sums.mean_sum[c] / static_cast<double>(sums.samples) / peak : 0.0;
}

}  // namespace

const Criterion& positions() {
  static const Activity criterion(
      {.name = "positions", .about = "share of positions above zero"}, kActivity,
      [](const ValueSums& sums, size_t c) { return static_cast<double>(sums.active[c]) / static_cast<double>(sums.count); });
  return criterion;
}

const Criterion& rms() {
  static const Activity criterion({.name = "rms", .about = "root mean square"}, kActivity, [](const ValueSums& sums, size_t c) {
    return std::sqrt(sums.sum_sq[c] / static_cast<double>(sums.count));
  });
  return criterion;
}

const Criterion& standard_deviation() {
  static const Activity criterion({.name = "std", .about = "standard deviation"}, kActivity,
                                  [](const ValueSums& sums, size_t c) { return std::sqrt(variance(sums, c)); });
  return criterion;
}

const Criterion& frequency() {
  static const Activity criterion({.name = "frequency", .about = "share of images in which it exceeds the threshold"},
                                  kPerSample, fired_share);
  return criterion;
}

const Criterion& normalized_mean() {
  static const Activity criterion({.name = "normalized_mean", .about = "mean, divided by the largest mean of the layer"},
                                  kPerSample, mean_of_peak);
  return criterion;
}

const Criterion& mean_absolute() {
  static const Activity criterion(
      {.name = "mean_absolute", .about = "mean absolute value"}, kAbsolute,
      [](const ValueSums& sums, size_t c) { return sums.abs_sum[c] / static_cast<double>(sums.count); });
  return criterion;
}

const Criterion& combined() {
  static const Activity criterion(
      {.name = "combined", .about = "square root of frequency * normalized_mean"}, kPerSample,
      [](const ValueSums& sums, size_t c) { return std::sqrt(std::max(0.0, mean_of_peak(sums, c) * fired_share(sums, c))); });
  return criterion;
}

}  // namespace elek::criteria
