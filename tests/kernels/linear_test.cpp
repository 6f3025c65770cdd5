// SPDX-License-Identifier: Apache-2.0
// The linear layer compared with a sum in double, for every instruction set of this machine: few and many samples and outputs,
// rows with room after them, one to three threads. The bound is that of an f32 sum in any order: |error| <= (in + 1) * 2^-24 *
// (sum |w x| + |b|).
#include "kernels/cpu/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/vectors.h"
#include "tests/kernels/conv_problem.h"
#include "tests/kernels/kernel_case.h"

namespace elek::kernels::cpu {
namespace {

using conv_case::Floats;
using test::for_each_target;

struct Case {
  LinearLayer layer;
  Floats x, bias, y;
  std::vector<float> w;

  explicit Case(const LinearLayer& p)
      : layer(p),
        x(static_cast<size_t>(p.samples * p.in_pitch), conv_case::kNan),
        bias(static_cast<size_t>(p.out), 0),
        y(static_cast<size_t>(p.samples * p.out_pitch), conv_case::kNan),
        w(static_cast<size_t>(p.in * p.out)) {
    Random random(5);
    for (float& each : w) each = static_cast<float>(random.normal());
    for (int64_t k = 0; k < p.out; ++k) bias.data[k] = static_cast<float>(k % 7);
    for (int64_t n = 0; n < p.samples; ++n)
      for (int64_t c = 0; c < p.in; ++c) x.data[n * p.in_pitch + c] = static_cast<float>(random.normal());
  }
  void run(int64_t samples) {
    const LinearPlan plan = plan_linear(layer);
    Floats packed(plan.packed_bytes / sizeof(float), conv_case::kNan);
    pack_linear_weights(plan, w.data(), packed.data);
    linear(plan, samples, x.data, packed.data, bias.data, y.data);
  }
};

std::vector<LinearLayer> layers() {
  std::vector<LinearLayer> all;
  for (const int threads : {1, 2, 3}) {
    all.push_back({1, 1, 1, 1, 1, threads});
    all.push_back({5, 64, 10, 64, 10, threads});
    all.push_back({7, 37, 129, 48, 144, threads});
    all.push_back({9, 700, 203, 704, 203, threads});  // enough work for several threads
  }
  return all;
}

TEST(LinearTest, EqualsASumInDoubleWithinTheDerivedBound) {
  for_each_target([] {
    for (const LinearLayer& p : layers()) {
      Case c(p);
      c.run(p.samples);
      int64_t bad = 0, written = 0;
      for (int64_t n = 0; n < p.samples; ++n)
        for (int64_t k = 0; k < p.out; ++k) {
          double want = c.bias.data[k], magnitude = std::fabs(want);
          for (int64_t i = 0; i < p.in; ++i) {
            const double term = double{c.w[static_cast<size_t>(k * p.in + i)]} * double{c.x.data[n * p.in_pitch + i]};
            want += term, magnitude += std::fabs(term);
          }
          const double bound = static_cast<double>(p.in + 1) * std::ldexp(1.0, -24) * magnitude;
          if (!(std::fabs(double{c.y.data[n * p.out_pitch + k]} - want) <= bound)) ++bad;
        }
      for (int64_t n = 0; n < p.samples; ++n)
        for (int64_t k = p.out; k < p.out_pitch; ++k) written += std::isnan(c.y.data[n * p.out_pitch + k]) ? 0 : 1;
      EXPECT_EQ(bad, 0) << p.in << " -> " << p.out << " on " << instruction_set();
      EXPECT_EQ(written, 0) << "between the rows, on " << instruction_set();
    }
  });
}

TEST(LinearTest, ThreadsAndSamplesDoNotChangeABit) {
  LinearLayer p{9, 700, 203, 704, 203, 1};
  Case all(p);
  all.run(9);
  p.threads = 3;
  Case some(p);
  some.run(6);
  for (int64_t i = 0; i < 6 * p.out_pitch; ++i) ASSERT_EQ(all.y.data[i], some.y.data[i]) << "at " << i;
}

TEST(LinearTest, RefusesWhatWasNotPlanned) {
  EXPECT_THROW((void)plan_linear({1, 8, 8, 7, 8, 1}), ContractError);
  EXPECT_THROW((void)plan_linear({1, 8, 8, 8, 7, 1}), ContractError);
  Case c({2, 8, 8, 8, 8, 1});
  EXPECT_THROW(c.run(3), ContractError);
}

}  // namespace
}  // namespace elek::kernels::cpu
