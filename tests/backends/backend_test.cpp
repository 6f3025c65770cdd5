// SPDX-License-Identifier: Apache-2.0
// The table of backends has an entry for every kind of device, built in or not, and none for anything else.
#include "backends/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"

namespace elek {
namespace {

using ::testing::HasSubstr;
using Answer = Support::Answer;

TEST(BackendTable, HasAnEntryForEveryKindOfDevice) {
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    const BackendEntry& entry = backend_of(kind);
    EXPECT_EQ(entry.kind, kind);
    EXPECT_EQ(entry.supports(Precision::kF32).answer, Answer::kYes);
    EXPECT_NE(entry.make, nullptr);
    EXPECT_NE(entry.memory, nullptr);
    EXPECT_NE(entry.stream_order, nullptr);
  }
}

TEST(BackendTable, HasNoneForAnUnknownKind) {
  try {
    (void)backend_of(static_cast<DeviceKind>(7));
    FAIL() << "a backend of nobody";
  } catch (const ContractError& error) {
    EXPECT_THAT(error.what(), HasSubstr("kind 7"));
  }
}

TEST(BackendTable, TheCpuSaysWhatItCanDo) {
  const BackendEntry& cpu = backend_of(DeviceKind::kCpu);
  EXPECT_TRUE(cpu.built_in);
  EXPECT_TRUE(cpu.starts_from_values);
  EXPECT_EQ(cpu.timed_sources.find_first_not_of("0123456789abcdef"), std::string_view::npos);
  EXPECT_EQ(cpu.timed_sources.size(), 16U);
  EXPECT_EQ(&cpu.memory({}), &host_resource());
  EXPECT_EQ(&cpu.stream_order({}), &host_order());
  EXPECT_EQ(&cpu.make({})->default_memory(), &host_resource());
  for (const Precision precision : {Precision::kTf32, Precision::kF16}) {
    EXPECT_EQ(cpu.supports(precision).answer, Answer::kNever);
    EXPECT_THAT(cpu.supports(precision).why_not, HasSubstr("f32, bf16 and int8 only"));
  }
  const Support bf16 = cpu.supports(Precision::kBf16);  // by the processor
  EXPECT_NE(bf16.answer, Answer::kNever);
  EXPECT_EQ(bf16.why_not.empty(), bf16.answer == Answer::kYes);
}

TEST(BackendTable, AnAbsentBackendSaysWhatToConfigure) {
  const BackendEntry& cuda = backend_of(DeviceKind::kCuda);
  EXPECT_FALSE(cuda.starts_from_values);
  if (cuda.built_in) GTEST_SKIP() << "the CUDA backend is built in";
  const Device gpu{DeviceKind::kCuda, 3};
  for (const auto& use :
       {std::function<void()>([&] { (void)cuda.make(gpu); }), std::function<void()>([&] { (void)cuda.memory(gpu); }),
        std::function<void()>([&] { (void)cuda.stream_order(gpu); })}) {
    try {
      use();
      FAIL() << "a device without its backend";
    } catch (const DeviceError& error) {
      EXPECT_THAT(error.what(), HasSubstr("cuda:3"));
      EXPECT_THAT(error.what(), HasSubstr("-DELEK_CUDA=ON"));
    }
  }
}

}  // namespace
}  // namespace elek
