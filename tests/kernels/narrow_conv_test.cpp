// SPDX-License-Identifier: Apache-2.0
// narrow_conv compared with a direct convolution in double of the same integers times their scales, or of the same bf16
// values: every instruction set of this machine (with VNNI and AVX512_BF16, if they are there), both blocked layouts, every way
// to store input, residual and output, odd channels and maps, strides, uneven paddings, dilations, one to three threads.
// Of integers the sum of products is exact, so the error is that of the scale, the multiply-add, the residual's product and
// sum: at most 8 * 2^-24 of the sum of magnitudes. A rounded output may in addition be half a step away. In bf16 every product
// and addition rounds to f32, and the output once to bf16.
#include "kernels/cpu/narrow_conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/bfloat16.h"
#include "core/error.h"
#include "tests/kernels/conv_case.h"

namespace elek::kernels::cpu {
namespace {

using conv_case::Direct;
using conv_case::index_of;
using conv_case::Problem;
using conv_case::Shape;

constexpr float kXScale = 0.03F, kResidualScale = 0.07F, kYScale = 0.11F;

/// How a case stores what it reads and writes.
struct Form {
  DType x = DType::kU8;
  bool x_signed = false;
  DType residual = DType::kF32;
  DType y = DType::kF32;
  bool rounded = false;
  bool y_signed = false;
  Multiply multiply = Multiply::kPairs;
  bool plain = false;  // x is NCHW
};
std::string print(const Form& f) {
  return " x " + std::string(name_of(f.x)) + (f.x_signed ? " signed" : "") + " residual " + std::string(name_of(f.residual)) +
         " y " + std::string(name_of(f.y)) + (f.rounded ? " rounded" : "") + (f.y_signed ? " signed" : "") +
         (f.plain ? " plain" : "") +
         (f.multiply == Multiply::kVnni   ? " vnni"
          : f.multiply == Multiply::kBf16 ? " bf16"
                                          : "");
}

/// Calls f(multiply) on every instruction set, for each way to multiply integers there.
template <typename F>
void for_each_target(const F& f) {
  test::for_each_target([&] {
    for (const Multiply how : {Multiply::kPairs, Multiply::kVnni}) {
      if (can_multiply(how)) f(how);
    }
  });
}

/// Bytes in a blocked layout, aligned to 64; poisoned.
struct Bytes {
  explicit Bytes(size_t n) : storage(n + 64, std::byte{0xAA}) {
    data = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  }
  std::vector<std::byte> storage;
  std::byte* data;
};

void put(Bytes& to, size_t index, float value, const StoredAs& as) {
  const auto q = static_cast<int>(std::lround(value / as.scale));
  if (as.type == DType::kF32) std::memcpy(to.data + index * sizeof(float), &value, sizeof(float));
  if (as.type == DType::kBF16) {
    const BFloat16 narrow(value);
    std::memcpy(to.data + index * sizeof(BFloat16), &narrow, sizeof(BFloat16));
  }
  if (as.type == DType::kU8) to.data[index] = static_cast<std::byte>(static_cast<uint8_t>(q));
  if (as.type == DType::kI8) to.data[index] = static_cast<std::byte>(static_cast<int8_t>(q));
}
float get(const Bytes& from, size_t index, const StoredAs& as) {
  if (as.type == DType::kU8) return static_cast<float>(static_cast<uint8_t>(from.data[index])) * as.scale;
  if (as.type == DType::kI8) return static_cast<float>(static_cast<int8_t>(from.data[index])) * as.scale;
  if (as.type == DType::kBF16) {
    BFloat16 narrow;
    std::memcpy(&narrow, from.data + index * sizeof(BFloat16), sizeof(BFloat16));
    return static_cast<float>(narrow);
  }
  float value = 0;
  std::memcpy(&value, from.data + index * sizeof(float), sizeof(float));
  return value;
}

/// A problem whose x, w and residual are integers times scales. After run(), problem.y holds what was stored, as f32.
struct Quantised {
  Problem problem;
  Form form;
  std::vector<int8_t> weights;
  std::vector<float> scales;

  Quantised(const Shape& shape, const Form& f, uint64_t seed) : problem(shape, false, seed), form(f) {
    if (form.multiply == Multiply::kBf16) {
      const auto round_all = [](auto& values) {
        for (float& v : values) v = static_cast<float>(BFloat16(v));
      };
      round_all(problem.w);
      round_all(problem.x.storage);
      if (form.residual == DType::kBF16) round_all(problem.residual.storage);
      return;
    }
    Random random(seed + 1);
    const auto draw = [&](bool is_signed) { return static_cast<float>(random.below(256)) - (is_signed ? 128.0F : 0.0F); };
    const int64_t row = shape.channels * shape.kernel.area();
    for (int64_t k = 0; k < shape.out_channels; ++k) scales.push_back(0.01F * static_cast<float>(1 + k % 3));
    for (size_t i = 0; i < problem.w.size(); ++i) {
      weights.push_back(static_cast<int8_t>(static_cast<int64_t>(random.below(255)) - 127));
      problem.w[i] = static_cast<float>(weights.back()) * scales[i / static_cast<size_t>(row)];
    }
    for (int64_t n = 0; n < shape.samples; ++n) {
      for (int64_t c = 0; c < shape.channels; ++c)
        for (int64_t i = 0; i < shape.height * shape.width; ++i)
          problem.x.data[index_of(problem.x_view(), n, c, i / shape.width, i % shape.width)] = draw(form.x_signed) * kXScale;
      for (int64_t k = 0; k < shape.out_channels && shape.residual && form.residual != DType::kF32; ++k)
        for (int64_t i = 0; i < problem.oh * problem.ow; ++i)
          problem.residual.data[index_of(problem.y_view(), n, k, i / problem.ow, i % problem.ow)] =
              draw(form.residual == DType::kI8) * kResidualScale;
    }
  }

  [[nodiscard]] NarrowConvProblem plan_problem() const {
    const Shape& c = problem.spec;
    NarrowConvProblem p;
    p.samples = c.samples, p.channels = c.channels, p.out_channels = c.out_channels, p.height = c.height, p.width = c.width;
    p.kernel = c.kernel, p.stride = c.stride, p.padding = c.padding, p.layout = c.layout, p.threads = c.threads;
    p.dilation = c.dilation, p.x_type = form.x, p.x_scale = kXScale, p.x_signed = form.x_signed, p.multiply = form.multiply,
    p.plain_input = form.plain;
    return p;
  }

  void run(const ChannelSums* sums = nullptr, int64_t planned = 0, bool in_place = false) {
    const Shape& c = problem.spec;
    NarrowConvProblem wanted = plan_problem();
    wanted.samples = std::max(wanted.samples, planned);
    const auto made = plan_narrow_conv(wanted);
    ASSERT_TRUE(made) << made.reason();
    const NarrowConvPlan& plan = made.value();
    const auto x_count = static_cast<size_t>(c.samples * problem.pc * c.height * c.width);
    const auto y_count = static_cast<size_t>(c.samples * problem.pk * problem.oh * problem.ow);
    const StoredAs x_as{form.x, kXScale}, y_as{form.y, kYScale}, residual_as{form.residual, kResidualScale};
    Bytes x(x_count * size_of(form.x)), y(y_count * size_of(form.y)), residual(y_count * size_of(form.residual));
    for (size_t i = 0; i < x_count && !form.plain; ++i) put(x, i, problem.x.data[i], x_as);
    for (int64_t i = 0; form.plain && i < c.samples * c.channels * c.height * c.width; ++i) {
      const int64_t position = i % (c.height * c.width), plane = i / (c.height * c.width);
      const int64_t at =
          index_of(problem.x_view(), plane / c.channels, plane % c.channels, position / c.width, position % c.width);
      put(x, static_cast<size_t>(i), problem.x.data[at], x_as);
    }
    for (size_t i = 0; i < y_count; ++i) put(residual, i, problem.residual.data[i], residual_as);
    Bytes packed(plan.packed_bytes), scratch(plan.scratch_bytes);
    if (form.multiply == Multiply::kBf16) {
      pack_narrow_conv_weights(plan, problem.w.data(), packed.data);
    } else {
      pack_narrow_conv_weights(plan, weights, scales, packed.data);
    }
    NarrowConvArgs args;
    args.samples = c.samples, args.x = x.data, args.packed = packed.data, args.bias = problem.bias.data;
    if (c.residual) args.residual = residual.data, args.residual_stored = residual_as;
    args.activation = c.relu ? elek::Activation::kRelu : elek::Activation::kNone;
    args.y = in_place ? residual.data : y.data, args.y_stored = y_as, args.scratch = scratch.data, args.sums = sums;
    if (form.rounded) args.y_scale = kYScale, args.y_signed = form.y_signed;
    narrow_conv(plan, args);
    for (size_t i = 0; i < y_count; ++i) problem.y.data[i] = get(in_place ? residual : y, i, y_as);
  }

  void expect_right() const {
    const Direct direct(problem);
    int64_t bad = 0;
    problem.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
      const double got = problem.y.data[index_of(problem.y_view(), n, k, row, column)];
      double want = direct.y[o], tolerance = 8 * std::ldexp(1.0, -24) * direct.magnitude[o];
      if (form.multiply == Multiply::kBf16) {
        tolerance *= static_cast<double>(problem.spec.channels * problem.spec.kernel.area() + 2) / 8;
        if (form.y == DType::kBF16) tolerance += std::ldexp(std::fabs(want) + tolerance, -8);
      }
      if (form.rounded) {
        const double lowest = form.y_signed ? -128 : 0, highest = form.y_signed ? 127 : 255;
        want = std::clamp(want, lowest * double{kYScale}, highest * double{kYScale});
        tolerance += double{kYScale} * (0.5 + 256 * std::ldexp(1.0, -23));
        const double steps = got / double{kYScale};
        if (std::fabs(steps - std::nearbyint(steps)) > 1e-4) ++bad;
      }
      if (!(std::fabs(got - want) <= tolerance)) ++bad;
    });
    EXPECT_EQ(bad, 0) << conv_case::print(problem.spec) << print(form);
    conv_case::expect_zero_padding(problem);
  }
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
    for (const int threads : {1, 2, 3}) {
      all.push_back({1, 1, 1, 1, 1, 1, 1, 0, layout, threads, false, false});
      all.push_back({2, 7, 37, 5, 9, 1, 1, 0, layout, threads, true, true});
      all.push_back({3, 64, 16, 7, 7, 1, 1, 0, layout, threads, false, true});
      all.push_back({1, 20, 33, 19, 23, 1, 1, 0, layout, threads, true, false});  // several lines of pixels
      all.push_back({1, 129, 128, 3, 3, 1, 1, 0, layout, threads, true, true});   // outputs are split
      all.push_back({2, 33, 45, 9, 7, 1, 2, 0, layout, threads, false, true});    // stride, odd map
      all.push_back({2, 20, 33, 8, 9, 3, 2, 1, layout, threads, true, true});
      all.push_back({1, 18, 20, 11, 10, 3, 1, 1, layout, threads, true, true});
      all.push_back({1, 3, 17, 15, 14, 7, 2, 3, layout, threads, false, false});
      all.push_back({1, 5, 8, 6, 6, 3, 1, 2, layout, threads, false, true});
      all.push_back({2, 9, 17, 9, 11, {1, 7}, {2, 1}, {0, 3, 1, 2}, layout, threads, true, true});  // rectangular, uneven
      all.push_back({1, 7, 21, 12, 9, {3, 2}, {1, 2}, {0, 1, 2, 0}, layout, threads, false, false, {2, 3}});  // dilated
      all.push_back({2, 5, 9, 14, 13, 3, 3, 3, layout, threads, false, true, 3});
      all.push_back({1, 6, 8, 5, 5, 1, 1, {0, 0, 1, 0}, layout, threads, false, false});  // 1x1, padded at one side
    }
  // Larger than a unit of the scratch: bands of rows; and units of several samples.
  all.push_back({1, 48, 16, 90, 70, 3, 1, 1, Layout::kNChw16c, 2, false, true});
  all.push_back({9, 32, 16, 14, 14, 3, 1, 1, Layout::kNChw16c, 2, false, true});
  return all;
}

std::vector<Form> forms() {
  return {{},
          {DType::kU8, false, DType::kU8, DType::kU8, true, false},
          {DType::kI8, true, DType::kI8, DType::kI8, true, true},
          {DType::kF32, true, DType::kF32, DType::kU8, true, false},
          {DType::kF32, false, DType::kI8, DType::kF32, true, true}};
}

TEST(NarrowConvTest, EqualsTheDirectConvolutionOfTheSameIntegers) {
  for_each_target([](Multiply multiply) {
    size_t i = 0;
    for (const Shape& shape : shapes()) {
      // Each shape in two of the forms, so that every form meets every kind of shape.
      for (const size_t form : {i % 5, (i + 2) % 5}) {
        Form stored = forms()[form];
        stored.multiply = multiply;
        Quantised q(shape, stored, 7 + i);
        q.run();
        q.expect_right();
      }
      ++i;
    }
  });
}

std::vector<Form> bf16_forms() {
  Form narrow{DType::kBF16, false, DType::kBF16, DType::kBF16};
  narrow.multiply = Multiply::kBf16;
  Form wide = narrow;
  wide.residual = wide.y = DType::kF32;
  return {narrow, wide};
}

TEST(NarrowConvTest, Bf16EqualsTheDirectConvolutionOfTheSameValues) {
  if (!can_multiply(Multiply::kBf16)) GTEST_SKIP() << "no AVX512_BF16 here";
  for (const Form& form : bf16_forms()) {
    for (const Shape& shape : shapes()) {
      Quantised q(shape, form, 7);
      q.run();
      q.expect_right();
    }
  }
}

TEST(NarrowConvTest, PlainInputOfFewChannels) {
  const auto check = [](Form form, Multiply how) {
    form.multiply = how;
    form.plain = true;
    for (const Shape& shape : shapes()) {
      if (shape.channels > channel_block(shape.layout)) {
        EXPECT_FALSE(plan_narrow_conv(Quantised(shape, form, 7).plan_problem()));
        continue;
      }
      Quantised q(shape, form, 7);
      q.run();
      q.expect_right();
    }
  };
  for_each_target([&](Multiply how) { check({DType::kF32, true, DType::kF32, DType::kU8, true, false}, how); });
  if (can_multiply(Multiply::kBf16)) check(bf16_forms()[0], Multiply::kBf16);
}

TEST(NarrowConvTest, Bf16SumsAreThoseOfTheStoredValues) {
  if (!can_multiply(Multiply::kBf16)) GTEST_SKIP() << "no AVX512_BF16 here";
  for (const Shape& shape : shapes()) {
    for (const uint32_t which : {uint32_t{kActivity}, uint32_t{kActivity | kMoments | kAbsolute | kRange}}) {
      Quantised q(shape, bf16_forms()[0], 11);
      const conv_case::SumsBlock block(q.problem, which, 0.25F);
      q.run(&block.sums);
      q.problem.spec.residual = true;  // z is not y even without residual and ReLU: y is rounded
      conv_case::expect_sums_of_stored(q.problem, block, which, 0.25);
    }
  }
}

TEST(NarrowConvTest, Bf16KeepsAndCountsNanAndInfinity) {
  if (!can_multiply(Multiply::kBf16)) GTEST_SKIP() << "no AVX512_BF16 here";
  Quantised q({1, 16, 37, 3, 5, 1, 1, 0, Layout::kNChw16c, 1, false, true}, bf16_forms()[0], 13);
  for (int64_t c = 0; c < 16; ++c) q.problem.x.data[index_of(q.problem.x_view(), 0, c, 1, 2)] = conv_case::kNan;
  const conv_case::SumsBlock block(q.problem, kActivity | kRange, 0.0F);
  q.run(&block.sums);
  std::vector<int64_t> nonfinite(37);
  std::vector<double> max(37);
  block.sums.reduce({.nonfinite = nonfinite.data(), .max = max.data()});
  for (size_t k = 0; k < nonfinite.size(); ++k) {
    EXPECT_EQ(nonfinite[k], 1) << k;
    EXPECT_TRUE(std::isnan(max[k])) << k;
  }
}

TEST(NarrowConvTest, SumsAreThoseOfTheStoredValues) {
  for_each_target([](Multiply multiply) {
    size_t i = 0;
    for (const Shape& shape : shapes()) {
      Form form = forms()[++i % 5];
      form.multiply = multiply;
      for (const uint32_t which : {uint32_t{kActivity}, uint32_t{kActivity | kMoments | kAbsolute | kRange}}) {
        Quantised q(shape, form, 11);
        const conv_case::SumsBlock block(q.problem, which, 0.25F);
        q.run(&block.sums);
        const bool plain = !form.rounded;  // else z is not y even without residual and ReLU
        Problem& p = q.problem;
        if (!plain) p.spec.residual = true;
        conv_case::expect_sums_of_stored(p, block, which, 0.25);
      }
    }
  });
}

TEST(NarrowConvTest, ThreadsSamplesAndStatisticsDoNotChangeABit) {
  for (Shape c : {Shape{2, 37, 70, 14, 14, 1, 1, 0, Layout::kNChw16c, 1, true, true},
                  Shape{2, 20, 33, 8, 9, 3, 2, 1, Layout::kNChw16c, 1, false, true}}) {
    const Form form{DType::kU8, false, DType::kU8, DType::kF32, false, false};
    Quantised one(c, form, 21);
    one.run();
    c.threads = 2;
    Quantised two(c, form, 21);
    const conv_case::SumsBlock block(two.problem, kActivity, 0.0F);
    two.run(&block.sums, 7);
    for (int64_t i = 0; i < c.samples * one.problem.pk * one.problem.oh * one.problem.ow; ++i)
      ASSERT_EQ(one.problem.y.data[i], two.problem.y.data[i]) << conv_case::print(c) << " at " << i;
  }
}

TEST(NarrowConvTest, TheResidualMayBeTheOutput) {
  const Shape c{2, 37, 70, 14, 14, 1, 1, 0, Layout::kNChw16c, 2, true, true};
  const Form form{DType::kU8, false, DType::kU8, DType::kU8, true, false};
  Quantised apart(c, form, 5), in_place(c, form, 5);
  apart.run();
  in_place.run(nullptr, 0, true);
  // Both are read with the output's scale.
  for (int64_t i = 0; i < c.samples * apart.problem.pk * 14 * 14; ++i)
    ASSERT_EQ(apart.problem.y.data[i], in_place.problem.y.data[i]) << i;
}

TEST(NarrowConvTest, NanBecomesTheLowestValue) {
  for_each_target([](Multiply multiply) {
    Quantised q({1, 1, 1, 1, 3, 1, 1, 0, Layout::kNChw16c, 1, false, false},
                {DType::kF32, true, DType::kF32, DType::kF32, false, false, multiply}, 3);
    const int64_t block = 16;
    q.problem.x.data[0] = conv_case::kNan;
    q.problem.x.data[block] = std::numeric_limits<float>::infinity();
    q.problem.x.data[2 * block] = -std::numeric_limits<float>::infinity();
    q.problem.bias.data[0] = 0;
    q.run();
    const double w = q.problem.w[0];
    const double want[] = {-128 * double{kXScale} * w, 127 * double{kXScale} * w, -128 * double{kXScale} * w};
    for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(q.problem.y.data[i * block], want[i], 1e-5 * std::fabs(want[i])) << i;
  });
}

TEST(NarrowConvTest, TheLargestSumsFit) {
  // 255 * 127 in every product, as many as 32 bits hold.
  const int64_t most = INT32_MAX / (255 * 127);
  Shape c{1, most, 1, 1, 2, 1, 1, 0, Layout::kNChw16c, 1, false, false};
  for_each_target([&](Multiply multiply) {
    Form form;
    form.multiply = multiply;
    Quantised q(c, form, 1);
    for (float& value : q.problem.x.storage) value = value > 0 ? 255 * kXScale : value;
    for (int64_t ch = 0; ch < most; ++ch)
      for (int64_t i = 0; i < 2; ++i) q.problem.x.data[index_of(q.problem.x_view(), 0, ch, 0, i)] = 255 * kXScale;
    for (size_t i = 0; i < q.weights.size(); ++i) q.weights[i] = 127, q.problem.w[i] = 127 * q.scales[0];
    q.run();
    q.expect_right();
  });
  c.channels = most + 1;
  const auto refused = plan_narrow_conv(Quantised(c, {}, 1).plan_problem());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.reason().find("32 bits"), std::string::npos) << refused.reason();
}

TEST(NarrowConvTest, RefusesWhatItCannotDo) {
  Quantised q({1, 3, 4, 5, 5, 3, 1, 1, Layout::kNChw16c, 1, false, false}, {}, 1);
  NarrowConvProblem p = q.plan_problem();
  p.layout = Layout::kNhwc;
  EXPECT_FALSE(plan_narrow_conv(p));
  p = q.plan_problem();
  p.kernel = 9;
  EXPECT_FALSE(plan_narrow_conv(p));  // larger than the image
  p.kernel = 40, p.padding = 40;
  EXPECT_FALSE(plan_narrow_conv(p));  // too many taps
}

}  // namespace
}  // namespace elek::kernels::cpu
