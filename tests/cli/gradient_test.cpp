// SPDX-License-Identifier: Apache-2.0
// elek coverage with the metrics taylor and fisher: what the command says, writes and refuses. What they compute:
// tests/prune/gradient_importance_test.cpp.
#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Outcome coverage(const std::string& model, const std::string& out, const Words& more) {
  Words words{"coverage", "--model", model, "--calibrate", "synthetic:60:1", "--channels", "0.4"};
  words.insert(words.end(), more.begin(), more.end());
  if (!out.empty()) words.insert(words.end(), {"--evaluate", "synthetic:20:2", "--repair", "none", "--out", out});
  return elek_command(words);
}

TEST(Gradient, CutsAndSaysWhatItTakes) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "cut.safetensors";
  for (const std::string metric : {"taylor", "fisher"}) {
    const Outcome outcome = coverage(model, out, {"--metric", metric, "--batch", "30"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("choosing by the metric " + metric + ": gradients on the CPU, " +
                                       (metric == "taylor" ? "30 images" : "1 image") + " at a time"));
    const HistoryEntry& entry = load_model(out, host_resource()).history.back();
    EXPECT_EQ(entry.criterion, metric);
    EXPECT_EQ(entry.calibration_samples, 60);
  }
}

TEST(Gradient, TheLabelsOfTheFolderAreRecorded) {
  const Folder folder;
  const std::string out = folder / "cut.safetensors";
  const Outcome outcome = coverage(tiny_model(folder), out, {"--metric", "taylor", "--use-labels"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(load_model(out, host_resource()).history.back().criterion, "taylor labels=given");
}

TEST(Gradient, WhatCannotBeMeantIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "cut.safetensors";
  const Outcome labels = coverage(model, out, {"--metric", "rms", "--use-labels"});
  EXPECT_EQ(labels.exit_code, 2);
  EXPECT_THAT(labels.err, HasSubstr("--use-labels cannot be used with --metric rms"));
  const Outcome why = coverage(model, "", {"--metric", "fisher", "--why", "layer1.0"});
  EXPECT_EQ(why.exit_code, 2);
  EXPECT_THAT(why.err, HasSubstr("--metric fisher needs the images and uses no sums"));
  const Outcome raw = coverage(model, out, {"--metric", "taylor", "--tap", "conv"});
  EXPECT_EQ(raw.exit_code, 2);
  EXPECT_THAT(raw.err, HasSubstr("--tap conv cannot be used with taylor"));
}

}  // namespace
}  // namespace elek::test
