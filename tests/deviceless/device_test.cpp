// SPDX-License-Identifier: Apache-2.0
// Errors without a GPU: each says what is missing and what to do. With a GPU there is nothing to test and they skip.
#include "backends/cuda/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/backend.h"
#include "backends/cuda/error.h"
#include "core/error.h"

namespace elek::backends::cuda {
namespace {

using ::testing::HasSubstr;

TEST(Explain, SaysWhatToDo) {
  EXPECT_THAT(explain(cudaErrorNoDevice, "x"), HasSubstr("run on the CPU"));
  EXPECT_THAT(explain(cudaErrorInsufficientDriver, "x"), HasSubstr("driver"));
  EXPECT_THAT(explain(cudaErrorMemoryAllocation, "x"), HasSubstr("smaller batch"));
  EXPECT_THAT(explain(cudaErrorNoKernelImageForDevice, "x"), HasSubstr("CMAKE_CUDA_ARCHITECTURES"));
  EXPECT_THAT(explain(cudaErrorIllegalAddress, "running"), HasSubstr("new process"));
  EXPECT_THAT(explain(cudaErrorIllegalAddress, "running"), HasSubstr("running: cudaErrorIllegalAddress"));
}

TEST(Explain, KnowsWhichErrorsStay) {
  EXPECT_TRUE(is_sticky(cudaErrorIllegalAddress));
  EXPECT_TRUE(is_sticky(cudaErrorLaunchFailure));
  EXPECT_FALSE(is_sticky(cudaErrorMemoryAllocation));
  EXPECT_FALSE(is_sticky(cudaErrorInvalidValue));
}

TEST(Versions, ReadAsPeopleWriteThem) {
  EXPECT_EQ(cuda_version_name(13000), "13.0");
  EXPECT_EQ(cuda_version_name(12080), "12.8");
}

TEST(NoDevice, IsADeviceErrorThatSaysSo) {
  if (find_device(0)) GTEST_SKIP() << "there is a GPU here";
  try {
    (void)entry().make({DeviceKind::kCuda, 0});
    FAIL() << "a backend without a device";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.exit_code(), 5);
    EXPECT_THAT(error.what(), HasSubstr("cuda:0"));
    EXPECT_THAT(error.what(), HasSubstr("driver"));
  }
  EXPECT_THROW((void)entry().memory({DeviceKind::kCuda, 0}), DeviceError);
  EXPECT_THROW((void)entry().stream_order({DeviceKind::kCuda, 0}), DeviceError);
}

}  // namespace
}  // namespace elek::backends::cuda
