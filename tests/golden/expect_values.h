// SPDX-License-Identifier: Apache-2.0
// A session's stored values and sums compared with the double reference. Tolerance as in session_test.cpp: f32 rounding through
// the depth of the network, 2e-5 of the value's largest element.
// Tests: tests/golden/operators_test.cpp, tests/golden/windows_test.cpp
#pragma once

#include <gtest/gtest.h>

#include "tests/golden/session_support.h"
#include "tests/support/compare.h"

namespace elek::test {

inline constexpr double kTolerance = 2e-5;
inline constexpr int64_t kSamples = 5;

/// Every stored value equals the reference's; its sums are those of the stored value.
inline void expect_values(const Model& model, SessionOptions options, bool watched) {
  const auto pixels = tiny_pixels(model.graph.input_shape(), kSamples, 5);
  const auto want = run_reference(model, pixels, kSamples);
  options.keep_values = true;
  options.batch = kSamples;
  for (const std::string& name : stored_names(model)) {
    if (watched) options.probes.values[name] = kActivity | kAbsolute | kRange | kPerSample;
  }
  if (watched) options.probes.tap_norms = kernel_names(model);
  Session session(model, options);
  (void)run_all(session, pixels, kSamples, kSamples);
  const Statistics statistics = session.statistics();
  for (const std::string& name : options.probes.tap_norms) {
    const Node& node = model.graph.node(model.graph.at(name));
    const Node& input = model.graph.node(node.inputs[0]);
    const auto norms = tap_norms(session.stored_value(input.name), kSamples, input.shape, as_convolution(node.attrs).window());
    EXPECT_EQ(statistics.tap_norms.at(name).kernel, as_convolution(node.attrs).kernel) << name;
    const auto m = compare(std::span<const double>(statistics.tap_norms.at(name).norm_sq), norms, 0, 10 * 0x1p-24);
    EXPECT_EQ(m.count, 0) << name << " tap norms: " << m.message();
  }
  for (const std::string& name : stored_names(model)) {
    const std::vector<float> got = session.stored_value(name);
    const auto m = compare(got, want.at(name), kTolerance * largest(want.at(name)));
    EXPECT_EQ(m.count, 0) << name << ": " << m.message();
    if (!watched) continue;
    const ValueSums& sums = statistics.values.at(name);
    const auto own = channel_sums(got, kSamples, model.graph.node(model.graph.at(name)).shape, 0.0F);
    EXPECT_EQ(sums.active, own.active) << name;
    EXPECT_EQ(sums.fired, own.fired) << name;
    EXPECT_EQ(sums.max, own.max) << name;
    for (size_t c = 0; c < own.sum.size(); ++c) EXPECT_NEAR(sums.sum[c], own.sum[c], 1e-6 * own.abs_sum[c]) << name << " " << c;
  }
}

/// The logits do not depend on how the samples are divided into batches and micro-batches.
inline void expect_logits_in_any_batch(const Model& model) {
  const auto pixels = tiny_pixels(model.graph.input_shape(), kSamples, 5);
  const auto want = run_reference(model, pixels, kSamples).logits();
  for (const auto& [batch, micro] : std::vector<std::array<int64_t, 2>>{{5, 0}, {3, 2}, {1, 1}}) {
    SessionOptions options;
    options.batch = batch;
    options.micro_batch = micro;
    Session session(model, options);
    const auto m = compare(run_all(session, pixels, kSamples, batch), want, kTolerance * largest(want));
    EXPECT_EQ(m.count, 0) << "batch " << batch << ": " << m.message();
  }
}

}  // namespace elek::test
