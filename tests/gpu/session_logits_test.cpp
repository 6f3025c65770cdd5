// SPDX-License-Identifier: Apache-2.0
// Whole networks on the GPU compared with PyTorch's committed f64 logits (tests/fixtures/logits): in f32 within the project's
// 2e-5 of the largest logit, in lower precisions within the sum of their roundings (gpu.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "elek/model.h"
#include "models/safetensors.h"
#include "tests/fixtures/generated.h"
#include "tests/golden/session_support.h"
#include "tests/gpu/gpu.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

struct Case {
  const char* fixture;
  const char* arch;
  Shortcut shortcut;
  int64_t samples, height, width;
};

class GpuLogits : public ::testing::TestWithParam<std::tuple<Case, Precision>> {};

TEST_P(GpuLogits, EqualPyTorchs) {
  ELEK_NEEDS_GPU();
  const auto& [c, precision] = GetParam();
  ResNetSpec spec = resnet_spec(c.arch);
  spec.shortcut = c.shortcut;
  spec.input = {3, c.height, c.width};
  Model model;
  model.architecture = c.arch;
  model.graph = build_resnet(spec);
  const auto block = spec.bottleneck ? generated::Block::kBottleneck : generated::Block::kBasic;
  model.parameters = generated::parameters(c.fixture, model.graph, block, host_resource());
  model.preprocessing = generated::imagenet_preprocessing();
  const auto pixels = generated::pixels(std::string(c.fixture) + "/pixels", c.samples, spec.input);
  const auto file = SafetensorsFile::open(fixture(std::string("logits/") + c.fixture + ".safetensors"));
  const auto bytes = file.at("logits_f64").bytes;
  std::vector<double> want(bytes.size() / sizeof(double));
  std::memcpy(want.data(), bytes.data(), bytes.size());
  double layers = 0;
  for (const Node& node : model.graph.nodes()) layers += node.is<Conv2dAttrs>() || node.is<LinearAttrs>() ? 1 : 0;
  const double tolerance = logit_tolerance(precision, layers) * largest(want);
  SessionOptions options;
  options.device = kGpu;
  options.precision = precision;
  options.batch = c.samples;
  Session session(std::move(model), options);
  const Mismatch whole = compare(run_all(session, pixels, c.samples, c.samples), want, tolerance);
  EXPECT_EQ(whole.count, 0) << whole.message();
  const Mismatch partial = compare(run_all(session, pixels, c.samples, c.samples - 1), want, tolerance);
  EXPECT_EQ(partial.count, 0) << "partial batches: " << partial.message();
}

INSTANTIATE_TEST_SUITE_P(
    Networks, GpuLogits,
    ::testing::Combine(::testing::Values(Case{"resnet18", "resnet18", Shortcut::kB, 2, 224, 224},
                                         Case{"resnet50", "resnet50", Shortcut::kB, 2, 224, 224},
                                         Case{"resnext50_32x4d", "resnext50_32x4d", Shortcut::kB, 3, 97, 65},
                                         Case{"cifar_resnet20_a", "cifar_resnet20", Shortcut::kA, 5, 32, 32}),
                       ::testing::Values(Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16)),
    [](const auto& instance) {
      return std::string(std::get<0>(instance.param).fixture) + "_" + std::string(name_of(std::get<1>(instance.param)));
    });

}  // namespace
}  // namespace elek::test
