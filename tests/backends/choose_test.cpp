// SPDX-License-Identifier: Apache-2.0
// The rule that chooses a convolution's kernel, when measured times may decide instead, and the key that a time is stored
// under.
#include "backends/cpu/choose.h"

#include <gtest/gtest.h>

#include <set>

#include "backends/cpu/preferred_layout.h"
#include "core/error.h"
#include "core/sums.h"

namespace elek::backends::cpu {
namespace {

using enum ConvAlgorithm;

class ChooseTest : public ::testing::Test {
 protected:
  /// 64 channels on a map of 14x14, f32, in the layout that is the fastest here.
  static ConvCase conv(int64_t kernel, int64_t stride) {
    ConvCase made;
    ConvProblem& p = made.problem;
    p.samples = 4;
    p.src = {64, 14, 14};
    p.dst = {64, 14 / stride, 14 / stride};
    p.kernel = kernel;
    p.stride = stride;
    p.padding = kernel / 2;
    p.src_layout = p.dst_layout = preferred_layout(DType::kF32);
    return made;
  }
  LowerOptions options_;
  /// Who computes what is not ours where oneDNN has kernels.
  const ConvAlgorithm other_ = library_has_kernels() ? kLibrary : kDirect;
};

TEST_F(ChooseTest, TheRuleGoesByTheShape) {
  EXPECT_EQ(usual_algorithm(conv(3, 1), options_), kWinograd4);
  EXPECT_EQ(usual_algorithm(conv(1, 1), options_), kDirect);
  EXPECT_EQ(usual_algorithm(conv(1, 2), options_), kDirect);
  EXPECT_EQ(usual_algorithm(conv(3, 2), options_), kDirect);
  EXPECT_EQ(usual_algorithm(conv(5, 1), options_), other_);
}

TEST_F(ChooseTest, WinogradIsForcedOrLeftOut) {
  options_.winograd = Winograd::k2x2;
  EXPECT_EQ(usual_algorithm(conv(3, 1), options_), kWinograd2);
  EXPECT_EQ(usual_algorithm(conv(1, 1), options_), kDirect);
  options_.winograd = Winograd::k4x4;
  EXPECT_EQ(usual_algorithm(conv(3, 1), options_), kWinograd4);
  options_.winograd = Winograd::kOff;
  EXPECT_EQ(usual_algorithm(conv(3, 1), options_), other_);
  options_.winograd = Winograd::kAuto;
  options_.deterministic = true;
  EXPECT_EQ(usual_algorithm(conv(3, 1), options_), other_);
  EXPECT_EQ(usual_algorithm(conv(1, 1), options_), kDirect);
}

TEST_F(ChooseTest, DepthwiseConvolutionsAreOurs) {
  for (const int64_t kernel : {1, 3, 5}) {
    for (const int64_t stride : {1, 2}) {
      ConvCase depthwise = conv(kernel, stride);
      depthwise.problem.groups = 64;
      EXPECT_EQ(usual_algorithm(depthwise, options_), kDirect);
      EXPECT_TRUE(ConvKernel(kDirect, depthwise.problem, 1).name().starts_with("depthwise "));
      EXPECT_FALSE(fits(kWinograd4, depthwise.problem, 1));
      depthwise.problem.dst.channels = 128;  // two filters a channel
      EXPECT_EQ(usual_algorithm(depthwise, options_), other_);
    }
  }
}

TEST_F(ChooseTest, ActivationsThatAreNoClampsAreLeftToThePassAfterTheLibrary) {
  ConvCase clip = conv(1, 1), sigmoid = clip;
  clip.activation = {Activation::Kind::kClip, 0, 6};
  sigmoid.activation = {Activation::Kind::kSigmoid};
  EXPECT_EQ(usual_algorithm(clip, options_), kDirect);
  EXPECT_EQ(usual_algorithm(sigmoid, options_), other_);
}

/// Two layouts: our kernels do not support them. 16 bits: only our direct kernel does, with AVX512_BF16.
TEST_F(ChooseTest, WhatOurKernelsCannotDoIsTheLibrarys) {
  if (!library_is_built_in()) GTEST_SKIP() << "this build has no oneDNN; our kernels meet none of these in f32";
  for (const int64_t kernel : {1, 3}) {
    ConvCase plain = conv(kernel, 1), narrow = plain;
    plain.problem.src_layout = Layout::kNhwc;
    narrow.problem.src_type = narrow.problem.dst_type = DType::kBF16;
    for (const ConvAlgorithm algorithm : kConvAlgorithms) {
      for (const ConvCase& c : {plain, narrow}) {
        const bool bf16 = c.problem.src_type == DType::kBF16 && kernels::cpu::can_multiply(kernels::cpu::Multiply::kBf16);
        EXPECT_EQ(fits(algorithm, c.problem, 1), algorithm == kLibrary || (bf16 && algorithm == kDirect)) << name_of(algorithm);
        EXPECT_EQ(usual_algorithm(c, options_), kLibrary);
        ConvCase watched = c;
        watched.sums = kActivity;
        EXPECT_EQ(usual_algorithm(watched, options_), bf16 ? kDirect : kLibrary) << "our epilogue takes the sums";
      }
    }
  }
  EXPECT_THROW(ConvKernel(kWinograd4, conv(1, 1).problem, 1), ContractError);
  EXPECT_THROW(ConvKernel(kDirect, ConvProblem{.src = {4, 3, 3}, .dst = {4, 3, 3}, .groups = 4}, 1), ContractError);
}

/// Convolution groups, unfused batch norm, pooled features: oneDNN is chosen where it has kernels, ours can do them, too.
TEST_F(ChooseTest, WhatTheLibraryDoesBetterIsLeftToIt) {
  for (const int64_t kernel : {1, 3}) {
    ConvCase grouped = conv(kernel, 1), pixel = grouped;
    grouped.problem.groups = 2;
    pixel.problem.src = pixel.problem.dst = {64, 1, 1};
    pixel.problem.src_layout = Layout::kNchw;
    LowerOptions apart = options_;
    apart.batch_norm = BatchNorm::kApart;
    EXPECT_EQ(usual_algorithm(conv(kernel, 1), apart) == kLibrary, library_has_kernels());
    EXPECT_EQ(may_run(kDirect, conv(kernel, 1), apart), !library_has_kernels());
    for (const ConvCase& c : {grouped, pixel}) {
      EXPECT_TRUE(fits(kDirect, c.problem, 1));
      EXPECT_FALSE(fits(kWinograd4, c.problem, 1));
      EXPECT_EQ(usual_algorithm(c, options_), other_);
    }
  }
}

TEST_F(ChooseTest, TimesDecideOnlyWhereNothingElseWasAskedFor) {
  EXPECT_FALSE(times_may_decide(conv(3, 1), options_)) << "by the rule";
  options_.kernels = KernelChoice::kRemembered;
  const LowerOptions free = options_;
  EXPECT_TRUE(times_may_decide(conv(3, 1), free));
  EXPECT_TRUE(times_may_decide(conv(1, 2), free));
  const auto refused = [&](auto change) {
    LowerOptions changed = free;
    change(changed);
    return !times_may_decide(conv(3, 1), changed);
  };
  EXPECT_TRUE(refused([](LowerOptions& o) { o.deterministic = true; }));
  EXPECT_TRUE(refused([](LowerOptions& o) { o.winograd = Winograd::k4x4; }));
  EXPECT_TRUE(refused([](LowerOptions& o) { o.winograd = Winograd::kOff; }));
  EXPECT_TRUE(refused([](LowerOptions& o) { o.keep_values = true; }));
  EXPECT_TRUE(refused([](LowerOptions& o) { o.batch_norm = BatchNorm::kApart; }));
  EXPECT_TRUE(refused([](LowerOptions& o) { o.batch_moments = true; }));
  ConvCase narrow = conv(3, 1);
  narrow.problem.src_type = narrow.problem.dst_type = DType::kBF16;
  EXPECT_EQ(times_may_decide(narrow, free), kernels::cpu::can_multiply(kernels::cpu::Multiply::kBf16))
      << "else there is nothing to choose from";
}

/// A time belongs to everything that it depends on: if one thing changes, the key changes.
TEST_F(ChooseTest, EveryThingThatCostsTimeIsInTheKey) {
  std::set<std::string> keys{times_key("machine", conv(3, 1)), times_key("another", conv(3, 1))};
  size_t expected = 2;
  const auto add = [&](auto change) {
    ConvCase changed = conv(3, 1);
    change(changed);
    keys.insert(times_key("machine", changed));
    EXPECT_EQ(keys.size(), ++expected) << times_key("machine", changed);
  };
  add([](ConvCase& c) { c.problem.samples = 5; });
  add([](ConvCase& c) { c.problem.src = {65, 14, 14}; });
  add([](ConvCase& c) { c.problem.src = {64, 15, 14}; });
  add([](ConvCase& c) { c.problem.dst.channels = 65; });
  add([](ConvCase& c) { c.problem.kernel = 5; });
  add([](ConvCase& c) { c.problem.stride = 2; });
  add([](ConvCase& c) { c.problem.padding = 0; });
  add([](ConvCase& c) { c.problem.groups = 2; });
  add([](ConvCase& c) { c.problem.src_layout = Layout::kNhwc; });
  add([](ConvCase& c) { c.residual = true; });
  add([](ConvCase& c) { c.activation = Activation::kRelu; });
  add([](ConvCase& c) { c.sums = kActivity; });
  add([](ConvCase& c) { c.tap_norms = true; });
  add([](ConvCase& c) { c.parameters = 1 << 20; });
}

}  // namespace
}  // namespace elek::backends::cpu
