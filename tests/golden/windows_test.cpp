// SPDX-License-Identifier: Apache-2.0
// Windows that are not square, padded unevenly or dilated, pools that round up, and concatenations, in sessions, compared with
// the double reference: every stored value and its sums, batch norm folded and apart, whole and partial batches.
#include "engine/estimate.h"
#include "tests/golden/expect_values.h"
#include "tests/golden/window_models.h"

namespace elek {
namespace {

using test::expect_values;

void expect_everywhere(const Model& model) {
  for (const BatchNorm batch_norm : {BatchNorm::kFold, BatchNorm::kApart}) {
    for (const bool deterministic : {false, true}) {
      SCOPED_TRACE(batch_norm == BatchNorm::kFold ? "folded" : "apart");
      SessionOptions options;
      options.batch_norm = batch_norm;
      options.deterministic = deterministic;
      expect_values(model, options, false);
      expect_values(model, options, true);
    }
  }
  test::expect_logits_in_any_batch(model);
}

TEST(Windows, OfConvolutionsEqualTheOracle) { expect_everywhere(test::windows_model()); }
TEST(Windows, OfPoolsEqualTheOracle) { expect_everywhere(test::pools_model()); }
TEST(Windows, ConcatenationsEqualTheOracle) { expect_everywhere(test::concat_model()); }

/// Our own kernels compute what they do best, or everything if there is no oneDNN.
TEST(Windows, KernelsThatAreChosen) {
  std::map<std::string, std::string> kernels;
  SessionOptions options;
  options.kernels = KernelChoice::kRule;
  const Model model = test::windows_model();
  for (const ProgramStep& step : estimate_memory(model, options).program.steps) kernels[step.node.node.name] = step.kernel;
  if (!kernels.at("depthwise").starts_with("depthwise")) GTEST_SKIP() << "no blocked layout here: " << kernels.at("depthwise");
  EXPECT_TRUE(kernels.at("apart3").starts_with("direct")) << kernels.at("apart3");
  const bool without = why_not(Device{}, Precision::kBf16).find("no oneDNN") != std::string::npos;
  const std::string other = without ? "direct" : "oneDNN";
  EXPECT_TRUE(kernels.at("twice").starts_with(other)) << kernels.at("twice");
  EXPECT_TRUE(kernels.at("apart2").starts_with(other)) << kernels.at("apart2");
}

/// Stored in 16 bits: an element of the largest layer's sum is rounded to 2^-8.
TEST(Windows, InBf16) {
  if (const std::string why = test::why_no_bf16(); !why.empty()) GTEST_SKIP() << why;
  for (const Model& model : {test::windows_model(), test::pools_model(), test::concat_model()}) {
    const auto pixels = test::tiny_pixels(model.graph.input_shape(), test::kSamples, 5);
    const auto want = test::run_reference(model, pixels, test::kSamples).logits();
    SessionOptions options;
    options.batch = test::kSamples;
    options.precision = Precision::kBf16;
    Session session(model, options);
    const auto m =
        test::compare(test::run_all(session, pixels, test::kSamples, test::kSamples), want, 0x1p-4 * test::largest(want));
    EXPECT_EQ(m.count, 0) << m.message();
  }
}

}  // namespace
}  // namespace elek
