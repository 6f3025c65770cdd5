// SPDX-License-Identifier: Apache-2.0
// The errors that a user sees if the GPU is asked for and something prevents its use. The first test needs no GPU: it tests the
// error for a missing one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hint.h"
#include "tests/gpu/gpu.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(GpuErrors, ADeviceThatIsNotThereIsNamed) {
  SessionOptions options;
  options.device = {DeviceKind::kCuda, 63};
  try {
    const Session session(tiny_resnet({}), options);
    FAIL() << "a session on cuda:63";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.exit_code(), 5);
    EXPECT_THAT(error.what(), HasSubstr("cuda:63"));
  }
}

TEST(GpuErrors, WeightsBeyondF16AreNamedWithTheWayOut) {
  ELEK_NEEDS_GPU();
  Model model = tiny_resnet({});
  const Tensor& weight = model.parameter("conv1.weight");
  std::vector<float> values(weight.f32().begin(), weight.f32().end());
  values.front() = 1e9F;
  model.parameters["conv1.weight"] = tensor_of(values, weight.shape());
  SessionOptions options;
  options.device = kGpu;
  options.batch = 2;
  options.precision = Precision::kF16;
  try {
    const Session session(model, options);
    FAIL() << "1e9 in f16";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("conv1.weight"));
    EXPECT_EQ(hint_of(error), Hint::kHoldingPrecision);
  }
}

}  // namespace
}  // namespace elek::test
