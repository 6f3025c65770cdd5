// SPDX-License-Identifier: Apache-2.0
// Our convolutions on the layers that bench/kernels_bench.cpp times (resnet_layers.h), pruned and unusual ones included, at
// their real size. Some outputs of each are compared with the direct convolution in double, within the derived bounds, and none
// may be left unwritten. The check itself is tested too: it finds one wrong or missing output.
#include "tests/kernels/resnet_layers.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/cpu/gemm_conv.h"
#include "kernels/cpu/winograd.h"
#include "tests/kernels/some_outputs.h"
#include "tests/kernels/winograd_bound.h"

namespace elek::kernels::cpu {
namespace {

using conv_case::Floats;
using conv_case::Problem;

conv_case::Shape shape_of(const Layer& l) {
  return {1, l.channels, l.out_channels, l.size, l.size, l.kernel, l.stride, l.padding, Layout::kNChw16c, 2, true, true};
}

template <class Plan, class Pack, class Run>
void run(Problem& p, const Plan& plan, const Pack& pack, const Run& convolve) {
  ASSERT_TRUE(plan) << plan.reason();
  Floats packed(plan.value().packed_bytes / sizeof(float), conv_case::kNan);
  Floats scratch(plan.value().scratch_bytes / sizeof(float), conv_case::kNan);
  pack(plan.value(), p.w.data(), packed.data);
  convolve(plan.value(), ConvArgs{.x = p.x_view(),
                                  .packed = packed.data,
                                  .bias = p.bias.data,
                                  .residual = p.residual_view(),
                                  .activation = elek::Activation::kRelu,
                                  .y = p.output(),
                                  .scratch = scratch.data,
                                  .sums = nullptr});
}

void run_gemm(Problem& p) {
  const auto& c = p.spec;
  run(p,
      plan_gemm_conv({c.samples, c.channels, c.out_channels, c.height, c.width, c.kernel, c.stride, c.padding, c.layout,
                      c.threads, c.dilation}),
      pack_gemm_conv_weights, gemm_conv);
}

auto gemm_bound(const Problem& p) {
  const double factor = static_cast<double>(p.spec.channels * p.spec.kernel.area() + 2) * 0x1p-24;
  return [factor](const conv_case::DirectValue& want, auto...) { return factor * want.magnitude; };
}

TEST(ResNetLayersTest, TheDirectConvolutionIsWithinItsBound) {
  for (const Layer& layer : kResNetLayers) {
    if (layer.channels < 16) continue;  // oneDNN's
    Problem p(shape_of(layer), /*integers=*/false, 7);
    run_gemm(p);
    EXPECT_LE(conv_case::worst_of(p, gemm_bound(p)), 1) << layer.name;
  }
}

TEST(ResNetLayersTest, WinogradIsWithinItsBound) {
  for (const Layer& layer : kResNetLayers)
    for (const WinogradTile tile : {WinogradTile::k4x4, WinogradTile::k2x2}) {
      if (layer.kernel != 3 || layer.stride != 1) continue;
      Problem p(shape_of(layer), /*integers=*/false, 7);
      const auto& c = p.spec;
      run(p,
          plan_winograd({c.samples, c.channels, c.out_channels, c.height, c.width, c.padding.top, c.layout, tile, c.threads}),
          pack_winograd_weights, winograd_conv);
      const double worst =
          conv_case::worst_of(p, [&](const conv_case::DirectValue& /*want*/, int64_t n, int64_t k, int64_t row,
                                     int64_t column) { return conv_case::winograd_bound_at(p, tile, n, k, row, column); });
      EXPECT_LE(worst, 1) << layer.name << (tile == WinogradTile::k4x4 ? " F(4x4)" : " F(2x2)");
    }
}

TEST(ResNetLayersTest, TheCheckSeesAWrongAndAMissingOutput) {
  Problem p(shape_of({"layer3.1x1.odd", 717, 179, 14, 1, 1, 0}), false, 7);
  run_gemm(p);
  const auto bound = gemm_bound(p);
  ASSERT_LE(conv_case::worst_of(p, bound), 1);
  float& last = p.y.data[conv_case::index_of(p.y_view(), 0, 178, 13, 13)];  // always among those that are looked at
  const float right = last;
  last += 1;
  EXPECT_GT(conv_case::worst_of(p, bound), 1);
  last = right;
  p.y.data[conv_case::index_of(p.y_view(), 0, 100, 3, 4)] = conv_case::kNan;  // and one that is not
  EXPECT_GT(conv_case::worst_of(p, bound), 1);
}

}  // namespace
}  // namespace elek::kernels::cpu
