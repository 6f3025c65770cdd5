// SPDX-License-Identifier: Apache-2.0
// --precision bf16 on the CPU through the command: half the activation memory, the loss of accuracy printed beside the speed,
// and commands that watch and cut. The values: tests/golden/bf16_test.cpp. Without bf16: tests/cli/usage_test.cpp.
#include "elek/session.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Bf16Command : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_not(Device{}, Precision::kBf16); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(Bf16Command, BenchSaysHowFarFromF32) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto bench = [&](const std::string& precision) {
    return elek_command({"bench", "--model", model, "--seconds", "0", "--device", "cpu", "--batch", "8", "--micro-batch", "8",
                         "--precision", precision, "--json"});
  };
  const Outcome narrow = bench("bf16"), wide = bench("f32");
  const auto json = narrow.json();
  EXPECT_EQ(json.at("precision"), "bf16");
  EXPECT_LT(json.at("memory").at("weights_bytes"), wide.json().at("memory").at("weights_bytes"));
  EXPECT_GT(json.at("against_f32").at("difference"), 1e-5);  // it did compute in bf16
  EXPECT_LT(json.at("against_f32").at("difference"), 0.1);
  EXPECT_GE(json.at("against_f32").at("same_top1"), 0);
  EXPECT_LE(json.at("against_f32").at("same_top1"), 1);
  EXPECT_THAT(narrow.err, HasSubstr("largest difference from f32"));
  EXPECT_FALSE(wide.json().contains("against_f32"));
  EXPECT_THAT(wide.err, Not(HasSubstr("difference from f32")));
}

TEST_F(Bf16Command, ProfileNamesPrecisionAndItsOwnPeak) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"profile", "--model", tiny_model(folder), "--seconds", "0", "--device", "cpu", "--precision", "bf16"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("cpu in bf16, measured in this call: "));
  EXPECT_THAT(outcome.out, HasSubstr("oneDNN "));
  EXPECT_THAT(outcome.out, Not(HasSubstr("winograd ")));
}

TEST_F(Bf16Command, WatchesCutsAndRepairs) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string metric : {"std-consumer", "refit"}) {
    for (const std::string repair : {"bn", "refit"}) {
      const Outcome cut = elek_command({"coverage",
                                        "--model",
                                        model,
                                        "--calibrate",
                                        "synthetic:60:1",
                                        "--evaluate",
                                        "synthetic:60:2",
                                        "--batch",
                                        "20",
                                        "--channels",
                                        "0.3",
                                        "--round-to",
                                        "1",
                                        "--metric",
                                        metric,
                                        "--repair",
                                        repair,
                                        "--device",
                                        "cpu",
                                        "--precision",
                                        "bf16",
                                        "--out",
                                        folder / "cut.safetensors",
                                        "--json"});
      EXPECT_EQ(cut.exit_code, 0) << metric << " " << repair << ": " << cut.err;
    }
  }
  const std::string sums = folder / "sums.safetensors";
  const auto collect = [&](const std::string& precision, const std::string& to) {
    return elek_command({"coverage",
                         "--model",
                         model,
                         "--calibrate",
                         "synthetic:40:1",
                         "--evaluate",
                         "synthetic:20:2",
                         "--channels",
                         "0.3",
                         "--round-to",
                         "1",
                         "--metric",
                         "std-consumer",
                         "--device",
                         "cpu",
                         "--precision",
                         precision,
                         "--save-statistics",
                         to,
                         "--out",
                         folder / "cut.safetensors",
                         "--json"});
  };
  EXPECT_EQ(collect("bf16", sums).exit_code, 0);
  EXPECT_EQ(collect("f32", sums + ".f32").exit_code, 0);
  const Outcome merged = elek_command({"merge", sums, sums + ".f32", "--out", folder / "all.safetensors"});
  EXPECT_EQ(merged.exit_code, 3) << merged.err;  // sums of two precisions are not added
  EXPECT_THAT(merged.err, HasSubstr("bf16"));
}

}  // namespace
}  // namespace elek::test
