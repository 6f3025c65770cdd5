// SPDX-License-Identifier: Apache-2.0
// Which kind of kernel does cuDNN offer for what the backend asks? Its fastest kernels for Hopper are precompiled. It offers
// them only for certain forms of the graph, and says nothing if a form misses them: other kernels build too. So the number of
// builds (fusion_test.cpp) does not show it. For each device, precision, form and batch, the first candidate that builds must
// be precompiled, and at least `least` precompiled candidates must build. Nearly no kernel is compiled here, so it takes
// seconds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_graph.h"

namespace elek::backends::cuda {
namespace {

enum class Form : uint8_t { kRaw, kBias, kResidual };

struct Layer {
  const char* name;
  int64_t channels, size, filters, kernel, stride, groups;
};
/// ResNet-50's stem, its 3x3 and 1x1, a pruned layer, and ResNeXt-50's first 3x3.
constexpr Layer kLayers[] = {
    {"stem", 8, 224, 64, 7, 2, 1},       {"3x3", 64, 56, 64, 3, 1, 1},    {"strided", 128, 56, 128, 3, 2, 1},
    {"1x1", 64, 56, 256, 1, 1, 1},       {"pruned", 72, 28, 88, 3, 1, 1}, {"late", 512, 7, 512, 3, 1, 1},
    {"grouped", 128, 56, 128, 3, 1, 32},
};

struct Case {
  const char* device;
  Precision precision;
  size_t least;  // of any layer
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.device << " " << name_of(c.precision); }

ConvProblem problem_of(const Layer& layer, Precision precision, Form form, int64_t samples) {
  ConvProblem p;
  p.samples = samples;
  p.channels = p.x_pitch = layer.channels;
  p.height = p.width = layer.size;
  p.filters = p.y_pitch = layer.filters;
  p.kernel = layer.kernel;
  p.stride = layer.stride;
  p.padding = layer.kernel / 2;
  p.groups = layer.groups;
  p.precision = precision;
  p.epilogue = form == Form::kRaw ? ConvEpilogue::kNone : ConvEpilogue::kFull;
  p.residual = form == Form::kResidual;
  p.relu = form != Form::kRaw;
  return p;
}

class Precompiled : public ::testing::TestWithParam<Case> {};

TEST_P(Precompiled, KernelsAreOfferedForEveryPlainForm) {
  const auto version = load_cudnn();
  if (!version) GTEST_SKIP() << version.reason();
  const Case& c = GetParam();
  std::ifstream file(std::string(ELEK_SOURCE_DIR) + "/tests/deviceless/devices/" + c.device + ".json", std::ios::binary);
  const std::vector<uint8_t> json((std::istreambuf_iterator<char>(file)), {});
  const auto device = DeviceModel::from_json(json);
  ASSERT_TRUE(device) << device.reason();
  for (const Layer& layer : kLayers) {
    for (const Form form : {Form::kRaw, Form::kBias, Form::kResidual}) {
      for (const int64_t samples : {1, 32, 256}) {
        const ConvProblem p = problem_of(layer, c.precision, form, samples);
        const auto graph = ConvGraph::make(p, device.value());
        ASSERT_TRUE(graph) << key(p) << ": " << graph.reason();
        const ConvGraph& g = graph.value();
        size_t built = 0;
        std::string first;
        for (size_t i = 0; i < g.candidates(); ++i) {
          if (!g.precompiled(i) && !first.empty()) continue;
          if (!g.build(i)) continue;
          if (first.empty()) first = g.name(i) + (g.precompiled(i) ? "" : ", compiled at run time");
          built += g.precompiled(i) ? 1 : 0;
        }
        std::cout << layer.name << " " << key(p) << ": " << g.candidates() << " candidates, " << built
                  << " precompiled ones build, first " << first << std::endl;
        // For the narrow groups of a raw convolution B200's heuristics prefer a compiled kernel.
        if (layer.groups == 1) {
          EXPECT_THAT(first, ::testing::Not(::testing::HasSubstr("run time"))) << key(p);
        }
        EXPECT_GE(built, c.least) << key(p);
      }
    }
  }
}

std::vector<Case> cases() {
  // The fewest of any layer with cuDNN 9.19.0 (2026-12-01), less a third: other versions may offer a few less. The stem of bf16
  // and the grouped layer have the fewest. With an f32 bias, or the bias before the residual, the number was 0.
  return {{"a100", Precision::kF16, 10},  {"a100", Precision::kBf16, 8}, {"a100", Precision::kTf32, 9},
          {"a100", Precision::kF32, 3},   {"h100", Precision::kF16, 11}, {"h100", Precision::kBf16, 8},
          {"h100", Precision::kTf32, 11}, {"h100", Precision::kF32, 4},  {"b200", Precision::kF16, 14},
          {"b200", Precision::kBf16, 12}, {"b200", Precision::kTf32, 8}, {"b200", Precision::kF32, 2}};
}
INSTANTIATE_TEST_SUITE_P(Devices, Precompiled, ::testing::ValuesIn(cases()), [](const auto& instance) {
  return std::string(instance.param.device) + "_" + std::string(name_of(instance.param.precision));
});

}  // namespace
}  // namespace elek::backends::cuda
