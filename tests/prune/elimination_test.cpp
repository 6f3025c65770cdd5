// SPDX-License-Identifier: Apache-2.0
// Elimination compared with exhaustive least squares in double: at every step each remaining channel is tried by solving the
// fit without it from the stored columns. Costs and order must be the same. Costs add over readers.
#include "prune/elimination.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "tests/prune/double_fit.h"

namespace elek::test {
namespace {

/// One reader as plain numbers: columns u of `samples` samples, the last one 1, and its fit w [n][outputs].
struct Problem {
  int64_t first, channels, width, outputs, samples;
  Matrix u, w;
  [[nodiscard]] int64_t n() const { return channels * width + 1; }
};

Problem problem(int64_t first, int64_t channels, int64_t width, int64_t outputs, uint64_t seed) {
  Problem p{first, channels, width, outputs, 40 + 3 * channels * width, {}, {}};
  Random random(seed);
  for (int64_t s = 0; s < p.samples; ++s) {
    p.u.emplace_back();
    const double common = random.uniform();
    for (int64_t i = 0; i + 1 < p.n(); ++i) p.u.back().push_back(random.uniform() + 0.7 * common * static_cast<double>(i % 3));
    p.u.back().push_back(1.0);
  }
  for (int64_t i = 0; i < p.n(); ++i) {
    p.w.emplace_back();
    for (int64_t k = 0; k < outputs; ++k) p.w.back().push_back(random.uniform() - 0.4);
  }
  return p;
}

constexpr double kLoad = 1e-3;

Matrix moments(const Problem& p) {
  Matrix a(at(p.n()), std::vector<double>(at(p.n()), 0.0));
  for (const auto& u : p.u) {
    for (size_t i = 0; i < u.size(); ++i) {
      for (size_t j = 0; j < u.size(); ++j) a[i][j] += u[i] * u[j] / static_cast<double>(p.samples);
    }
  }
  for (size_t i = 0; i + 1 < a.size(); ++i) a[i][i] += kLoad;
  return a;
}

/// The loss of the best fit without the removed channels, over all outputs.
double loss_without(const Problem& p, const std::vector<bool>& gone) {
  const Matrix a = moments(p);
  std::vector<size_t> stay;
  for (int64_t i = 0; i < p.n(); ++i) {
    if (i == p.n() - 1 || !gone[at(p.first + i / p.width)]) stay.push_back(at(i));
  }
  double loss = 0;
  for (int64_t k = 0; k < p.outputs; ++k) {
    std::vector<double> w;
    for (const std::vector<double>& row : p.w) w.push_back(row[at(k)]);
    loss += loss_on(stay, a, w);
  }
  return loss;
}

ReaderFit fit_of(const Problem& p) {
  ReaderFit fit;
  fit.name = "reader";
  fit.first = p.first;
  fit.channels = p.channels;
  fit.width = p.width;
  fit.constants = 1;
  fit.outputs = p.outputs;
  const Matrix a = moments(p);
  fit.moments = Buffer(at(p.n() * p.n()) * sizeof(double), host_resource(), "moments");
  fit.weights = Buffer(at(p.n() * p.outputs) * sizeof(double), host_resource(), "weights");
  auto* to = static_cast<double*>(fit.moments.data());
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a.size(); ++j) *to++ = j >= i ? a[i][j] : std::numeric_limits<double>::quiet_NaN();
  }
  auto* w = static_cast<double*>(fit.weights.data());
  for (const auto& row : p.w) w = std::copy(row.begin(), row.end(), w);
  return fit;
}

std::vector<ReaderFit> fits_of(const std::vector<Problem>& problems) {
  std::vector<ReaderFit> fits;
  for (const Problem& p : problems) fits.push_back(fit_of(p));
  return fits;
}

TEST(Elimination, IsExhaustiveLeastSquaresAtEveryStep) {
  const std::vector<std::vector<Problem>> cases{
      {problem(0, 7, 1, 3, 1)},
      {problem(0, 6, 4, 5, 2)},
      {problem(0, 5, 9, 2, 3), problem(0, 5, 1, 4, 4)},                           // two readers of one group
      {problem(0, 3, 4, 2, 5), problem(3, 3, 4, 2, 6), problem(0, 6, 1, 3, 7)}};  // two convolution groups, and a whole
  for (const std::vector<Problem>& problems : cases) {
    const int64_t channels = problems.back().first + problems.back().channels;
    std::vector<ReaderFit> fits = fits_of(problems);
    const Elimination got = eliminate_channels(fits, channels, 2);
    std::vector<bool> gone(at(channels), false);
    for (int64_t step = 0; step < channels; ++step) {
      std::vector<double> losses(at(channels), std::numeric_limits<double>::infinity());
      for (int64_t c = 0; c < channels; ++c) {
        if (gone[at(c)]) continue;
        std::vector<bool> tried = gone;
        tried[at(c)] = true;
        losses[at(c)] = 0;
        for (const Problem& p : problems) losses[at(c)] += loss_without(p, tried);
      }
      const auto best = std::min_element(losses.begin(), losses.end());
      ASSERT_EQ(got.order[at(step)], best - losses.begin()) << "step " << step;
      // Both in double on systems of condition below n * max u^2 / load = 1e5: 1e-16 * 1e5, with room for n steps.
      EXPECT_NEAR(got.costs[at(best - losses.begin())], *best, 1e-9 * *best) << "step " << step;
      gone[at(best - losses.begin())] = true;
    }
  }
}

TEST(Elimination, DependsOnNoThreadsAndBreaksTiesByIndex) {
  const std::vector<Problem> problems{problem(0, 12, 9, 20, 8)};
  std::vector<ReaderFit> one = fits_of(problems), three = fits_of(problems);
  const Elimination a = eliminate_channels(one, 12, 1), b = eliminate_channels(three, 12, 3);
  EXPECT_EQ(a.order, b.order);
  EXPECT_EQ(a.costs, b.costs);
  std::vector<ReaderFit> none;
  EXPECT_EQ(eliminate_channels(none, 3, 1).order, (std::vector<int64_t>{0, 1, 2}));  // nobody reads them: no cost
}

TEST(Elimination, RefusesWhatIsNoFit) {
  std::vector<ReaderFit> fits = fits_of({problem(0, 4, 1, 2, 1)});
  static_cast<double*>(fits[0].moments.data())[0] = -1;
  EXPECT_THROW((void)eliminate_channels(fits, 4, 1), InputError);
  std::vector<ReaderFit> beyond = fits_of({problem(2, 4, 1, 2, 1)});
  EXPECT_THROW((void)eliminate_channels(beyond, 4, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
