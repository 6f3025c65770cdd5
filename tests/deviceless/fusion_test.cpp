// SPDX-License-Identifier: Apache-2.0
// Does cuDNN build the kernels that the CUDA backend asks for? Tests every distinct convolution of ResNet-18 and 50, dense and
// pruned, plain and with all fused sums, for devices that are not present: from their descriptions (devices/*.json), with a
// stand-in for the driver (CMakeLists.txt). Counts the layers that build and fails if there are fewer than in expected.txt. It
// tests neither values nor speed; tests/gpu does. Sample: a few shapes per case (minutes on two cores); Full: all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_graph.h"
#include "tests/deviceless/layers.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 32;
constexpr size_t kSampledShapes = 3;

struct Case {
  std::string device;
  std::string arch;
  bool pruned = false;
  Sums sums = Sums::kNone;
};

std::string name_of(const Case& c) {
  return c.device + "_" + c.arch + (c.pruned ? "_pruned" : "_dense") + (c.sums == Sums::kAll ? "_observed" : "_plain");
}
void PrintTo(const Case& c, std::ostream* out) { *out << name_of(c); }

/// expected.txt: "suite case layers distinct", # comments.
int64_t expected(const std::string& suite, const Case& c) {
  std::ifstream file(std::string(ELEK_SOURCE_DIR) + "/tests/deviceless/expected.txt");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string in_suite, name;
    int64_t layers = 0;
    if (words >> in_suite >> name >> layers && in_suite == suite && name == name_of(c)) return layers;
  }
  return -1;
}

std::vector<uint8_t> description(const std::string& device) {
  std::ifstream file(std::string(ELEK_SOURCE_DIR) + "/tests/deviceless/devices/" + device + ".json", std::ios::binary);
  return {(std::istreambuf_iterator<char>(file)), {}};
}

/// The first candidate that compiles, or the reason why none does. Heuristics come first, as in the backend's list.
Result<backends::cuda::ConvPlan> build_any(const backends::cuda::ConvProblem& problem,
                                           const backends::cuda::DeviceModel& device) {
  auto graph = backends::cuda::ConvGraph::make(problem, device);
  if (!graph) return No{graph.reason()};
  std::string reasons;
  for (size_t i = 0; i < graph.value().candidates(); ++i) {
    auto plan = graph.value().build(i);
    if (plan) return plan;
    reasons += graph.value().name(i) + ": " + plan.reason() + "; ";
  }
  return No{reasons};
}

/// `count` of the distinct shapes, spread evenly from first to last.
std::vector<Layer> spread(const std::vector<Layer>& layers, size_t count) {
  if (layers.size() <= count) return layers;
  std::vector<Layer> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(layers[i * (layers.size() - 1) / (count - 1)]);
  return chosen;
}

void expect_builds(const std::string& suite, const Case& c, size_t shapes) {
  const auto version = backends::cuda::load_cudnn();
  if (!version) GTEST_SKIP() << version.reason();
  const auto device = backends::cuda::DeviceModel::from_json(description(c.device));
  ASSERT_TRUE(device) << c.device << ": " << device.reason();
  const int64_t least = expected(suite, c);
  ASSERT_GE(least, 1) << "expected.txt has no line \"" << suite << " " << name_of(c) << " LAYERS\"";
  int64_t built = 0;
  for (const Layer& layer : spread(layers_of(c.arch, c.pruned, kSamples, c.sums), shapes)) {
    const auto plan = build_any(layer.problem, device.value());
    std::cout << "  " << (plan ? plan.value().engine() : "none: " + plan.reason().substr(0, 400)) << "  x" << layer.layers
              << "  " << backends::cuda::key(layer.problem) << std::endl;
    if (plan) built += layer.layers;
  }
  std::cout << "built: " << suite << " " << name_of(c) << " " << built << " (cuDNN "
            << backends::cuda::version_name(version.value()) << ")" << std::endl;
  EXPECT_GE(built, least) << "fewer layers build as one kernel than expected.txt says";
}

class Sample : public ::testing::TestWithParam<Case> {};
class Full : public ::testing::TestWithParam<Case> {};

TEST_P(Sample, Builds) { expect_builds("sample", GetParam(), kSampledShapes); }
TEST_P(Full, Builds) { expect_builds("full", GetParam(), 1000); }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* device : {"a100", "h100", "b200"})
    for (const char* arch : {"resnet18", "resnet50"})
      for (const bool pruned : {false, true})
        for (const Sums sums : {Sums::kNone, Sums::kAll}) all.push_back({device, arch, pruned, sums});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Deviceless, Sample, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return name_of(instance.param); });
INSTANTIATE_TEST_SUITE_P(Deviceless, Full, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return name_of(instance.param); });

// A stored plan can be read back for the same device, and a corrupt one gives a "no", not a crash.
TEST(PlanBytes, SurviveTheRoundTrip) {
  const auto version = backends::cuda::load_cudnn();
  if (!version) GTEST_SKIP() << version.reason();
  const auto device = backends::cuda::DeviceModel::from_json(description("a100"));
  ASSERT_TRUE(device) << device.reason();
  const auto problem = layers_of("resnet18", false, kSamples, Sums::kAll).at(1).problem;
  const auto plan = build_any(problem, device.value());
  ASSERT_TRUE(plan) << plan.reason();
  const auto bytes = plan.value().serialise();
  ASSERT_TRUE(bytes) << bytes.reason();
  ASSERT_GT(bytes.value().size(), 100U);
  const auto back = backends::cuda::load_plan(problem, device.value(), bytes.value(), plan.value().engine());
  ASSERT_TRUE(back) << back.reason();
  EXPECT_EQ(back.value().workspace_bytes(), plan.value().workspace_bytes());
  auto cut = bytes.value();
  cut.resize(cut.size() / 2);
  EXPECT_FALSE(backends::cuda::load_plan(problem, device.value(), cut, "cut"));
  EXPECT_FALSE(backends::cuda::load_plan(problem, device.value(), std::vector<uint8_t>(64, 0x55), "rubbish"));
}

// Sums that cannot be fused give a reason, without an exception.
TEST(NotSupported, IsAResult) {
  const auto version = backends::cuda::load_cudnn();
  if (!version) GTEST_SKIP() << version.reason();
  EXPECT_FALSE(backends::cuda::DeviceModel::from_json(std::vector<uint8_t>{'{', '}', 'x'}));
  const auto device = backends::cuda::DeviceModel::from_json(description("h100"));
  ASSERT_TRUE(device) << device.reason();
  auto problem = layers_of("resnet18", false, kSamples, Sums::kAll).at(1).problem;
  problem.precision = Precision::kF32;  // true f32 with six sums: no such kernel
  const auto plan = build_any(problem, device.value());
  EXPECT_FALSE(plan);
  EXPECT_FALSE(plan.reason().empty());
}

}  // namespace
}  // namespace elek::test
