// SPDX-License-Identifier: Apache-2.0
// Operators that ResNets do not have, in sessions, compared with the double reference: every stored value, whole and partial
// batches, watched and not, batch norm folded, unfused and re-estimated. Tolerance as in session_test.cpp: f32 rounding through
// the depth of the network, 2e-5 of the value's largest element.
#include <gtest/gtest.h>

#include "tests/golden/expect_values.h"
#include "tests/support/activation.h"
#include "tests/support/compare.h"

namespace elek {
namespace {

using test::expect_values;
using test::kSamples;
using test::kTolerance;

std::string text_of(const Attrs& attrs) {
  const Activation a = activation_of(attrs);
  return std::string(op_name(attrs)) + " " + std::to_string(a.low) + " " + std::to_string(a.high);
}

TEST(Operators, ActivationsEverywhereEqualTheOracle) {
  for (const Attrs& act : test::other_activations()) {
    SCOPED_TRACE(text_of(act));
    const Model model = test::activation_model(act);
    for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
      for (const Winograd winograd : {Winograd::kAuto, Winograd::kOff}) {
        SessionOptions options;
        options.batch_norm = batch_norm;
        options.winograd = winograd;
        expect_values(model, options, false);
        expect_values(model, options, true);
      }
    }
  }
}

TEST(Operators, SqueezeAndExcitationEqualsTheOracle) {
  const Model model = test::squeeze_model();
  for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
    SessionOptions options;
    options.batch_norm = batch_norm;
    expect_values(model, options, false);
    expect_values(model, options, true);
  }
  test::expect_logits_in_any_batch(model);
}

/// In place, in micro-batches and partial batches: the arena's plan must know which value overwrites which.
TEST(Operators, LogitsDoNotDependOnTheBatch) {
  for (const Attrs& act : test::other_activations()) {
    SCOPED_TRACE(text_of(act));
    test::expect_logits_in_any_batch(test::activation_model(act));
  }
}

TEST(Operators, MomentsAreMeasuredBeforeTheActivation) {
  for (const Attrs& act : test::other_activations()) {
    SCOPED_TRACE(text_of(act));
    const Model model = test::activation_model(act);
    const auto pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 5);
    test::ReferenceOptions by_batch;
    by_batch.batch_statistics = true;
    const auto want = test::run_reference(model, pixels, kSamples, by_batch);
    SessionOptions options;
    options.batch = kSamples;
    options.batch_norm = BatchNorm::kApart;
    options.batch_moments = true;
    Session session(model, options);
    const auto m = test::compare(test::run_all(session, pixels, kSamples, kSamples), want.logits(),
                                 10 * kTolerance * test::largest(want.logits()));
    EXPECT_EQ(m.count, 0) << m.message();
    for (const BatchMoments& each : session.batch_moments()) {
      const test::ReferenceMoments& moments = want.moments.at(each.batch_norm);
      for (size_t c = 0; c < moments.mean.size(); ++c)
        EXPECT_NEAR(each.mean[c], moments.mean[c], 2e-5 * std::sqrt(moments.variance[c]) + 1e-6) << each.batch_norm << " " << c;
    }
  }
}

/// Stored in 16 bits: an element of the largest layer's sum is rounded to 2^-8, and an activation is rounded once, not twice.
TEST(Operators, ActivationsInBf16) {
  if (const std::string why = test::why_no_bf16(); !why.empty()) GTEST_SKIP() << why;
  for (const Attrs& act : test::other_activations()) {
    SCOPED_TRACE(text_of(act));
    const Model model = test::activation_model(act);
    const auto pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 5);
    const auto want = test::run_reference(model, pixels, kSamples).logits();
    SessionOptions options;
    options.batch = kSamples;
    options.precision = Precision::kBf16;
    Session session(model, options);
    const auto m = test::compare(test::run_all(session, pixels, kSamples, kSamples), want, 0x1p-4 * test::largest(want));
    EXPECT_EQ(m.count, 0) << m.message();
  }
}

}  // namespace
}  // namespace elek
