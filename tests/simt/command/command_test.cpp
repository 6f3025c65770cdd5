// SPDX-License-Identifier: Apache-2.0
// The command on the stand-in device: what a user with a GPU sees, except for the speeds. The stand-in computes its times by a
// formula, so even a measurement has one right result: a product takes 5 us, a copy 1 us plus 1e-5 us per byte
// (tests/simt/libraries, runtime_memory.cpp).
#include "tests/cli/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "elek/session.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SimtCommand : public ::testing::Test {
 protected:
  void SetUp() override { setenv("ELEK_CACHE_DIR", "off", 1); }
  /// The arguments of a command on the small model.
  [[nodiscard]] Outcome run(std::vector<std::string> words, const std::vector<std::string>& more) const {
    words.insert(words.end(), {"--model", model_});
    words.insert(words.end(), more.begin(), more.end());
    return elek_command(words);
  }
  Folder folder_;
  std::string model_ = tiny_model(folder_);
};

TEST_F(SimtCommand, ProfilePrintsTheChoiceTable) {
  const Outcome outcome = run({"profile"}, {"--device", "cuda", "--precision", "f16", "--batch", "2", "--seconds", "0.01",
                                            "--statistics", "on", "--why"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("cuda:0 in f16, measured in this call"));
  EXPECT_THAT(outcome.out, HasSubstr("layer1.0.conv1: cuDNN eng4_k2=2, fused\n  fused 9.0 us <= split, observe "));
  EXPECT_THAT(outcome.out, HasSubstr("eng7_k2=1 11.0 us"));
}

TEST_F(SimtCommand, ProfileMeasuresThePeaksOfTheDevice) {
  const Outcome outcome =
      run({"profile"}, {"--device", "cuda", "--precision", "tf32", "--batch", "1", "--seconds", "0.01", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json peaks = outcome.json().at("peaks");
  // Elapsed times are milliseconds in f32: ten calls of 5 us are exact to 2^-24.
  EXPECT_NEAR(peaks.at("flops_per_second").get<double>(), 2 * 8192.0 * 8192.0 * 8192.0 / 5e-6, 1e-6 * 2.2e17);
  ASSERT_EQ(peaks.at("bandwidths").size(), 5U);  // 2, 8, 32, 128, 512 MiB
  for (const nlohmann::json& b : peaks.at("bandwidths")) {
    const auto set = b.at("set_bytes").get<double>();  // a copy reads one half of it and writes the other
    const double want = set / ((1 + 1e-5 * set / 2) * 1e-6);
    EXPECT_NEAR(b.at("copy_bytes_per_second").get<double>(), want, 1e-6 * want) << set;
  }
}

TEST_F(SimtCommand, AutoTakesTheGpuWithoutAWordAndSaysWhatTheCpuSays) {
  const std::vector<std::string> data{"--data", "synthetic:6:1", "--batch", "4", "--json"};
  const Outcome on_gpu = run({"eval"}, data);
  ASSERT_EQ(on_gpu.exit_code, 0) << on_gpu.err;
  EXPECT_THAT(on_gpu.err, Not(HasSubstr("uses the CPU")));
  EXPECT_TRUE(on_gpu.json().at("ledger").contains("device")) << "bytes of a GPU are told where one was used";
  EXPECT_EQ(on_gpu.json().at("samples"), 6);
  std::vector<std::string> on_cpu = data;
  on_cpu.insert(on_cpu.end(), {"--device", "cpu"});
  const Outcome cpu = run({"eval"}, on_cpu);
  if (!built_with(DeviceKind::kCpu)) {
    EXPECT_EQ(cpu.exit_code, 5) << cpu.err;
    return;
  }
  ASSERT_EQ(cpu.exit_code, 0) << cpu.err;
  EXPECT_FALSE(cpu.json().at("ledger").contains("device"));
  // Both are within 2e-5 of the largest logit of the exact logits (docs); a loss moves by at most twice the largest difference.
  EXPECT_NEAR(on_gpu.json().at("loss").get<double>(), cpu.json().at("loss").get<double>(), 1e-3);
}

TEST_F(SimtCommand, ASecondDeviceThatIsNotThereIsExitCode5) {
  const Outcome outcome = run({"eval"}, {"--data", "synthetic:2", "--device", "cuda:1"});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("there is no GPU 1: this process sees 1"));
}

}  // namespace
}  // namespace elek::test
