// SPDX-License-Identifier: Apache-2.0
// elek quantize: what it says, writes and refuses; and what the other commands do with its files. The numbers: tests/quantize.
#include <filesystem>

#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Outcome quantize(const std::string& model, const std::string& out, const Words& more = {}) {
  Words words{"quantize", "--model", model, "--calibrate", "synthetic:60:1", "--out", out};
  words.insert(words.end(), more.begin(), more.end());
  return elek_command(words);
}

TEST(Quantize, TellsTheAccuracyOfEachStep) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "q.safetensors";
  const Outcome outcome = quantize(dense, out, {"--rounding", "moments", "--evaluate", "synthetic:40:2", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.json();
  EXPECT_EQ(json.at("rounding"), "moments");
  EXPECT_EQ(json.at("calibration_samples"), 60);
  for (const char* stage : {"dense", "nearest", "moments"}) {
    EXPECT_TRUE(json.at("accuracy").at(stage).is_number()) << stage;
    EXPECT_TRUE(json.at("loss").at(stage).is_number()) << stage;
  }
  bool kept = false;
  for (const auto& layer : json.at("layers")) {
    EXPECT_EQ(layer.at("int8").get<bool>(), layer.at("why_not").is_null());
    kept = kept || !layer.at("int8").get<bool>();
  }
  EXPECT_TRUE(kept);  // the classifier
  const Model made = load_model(out, host_resource());
  EXPECT_FALSE(made.quantization.empty());
  EXPECT_LT(std::filesystem::file_size(out), std::filesystem::file_size(dense));
  const Outcome eval = elek_command({"eval", "--model", out, "--data", "synthetic:40:2", "--precision", "int8", "--json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_EQ(eval.json().at("top1"), json.at("accuracy").at("moments"));
  EXPECT_EQ(eval.json().at("loss"), json.at("loss").at("moments"));
}

TEST(Quantize, EveryCommandThatRunsANetworkRunsItsFiles) {
  const Folder folder;
  const std::string out = folder / "q.safetensors";
  ASSERT_EQ(quantize(tiny_model(folder), out, {"--rounding", "nearest"}).exit_code, 0);
  for (const Words& words :
       {Words{"info", "--model", out}, Words{"memory", "--model", out, "--batch", "4", "--precision", "int8"},
        Words{"profile", "--model", out, "--batch", "2", "--seconds", "0.1", "--precision", "int8"},
        Words{"bench", "--model", out, "--batch", "2", "--seconds", "0.1", "--precision", "int8"},
        Words{"run", "--model", out, "--data", "synthetic:3:1", "--out", folder / "l.safetensors", "--precision", "int8"},
        Words{"convert", "--model", out, "--out", folder / "q.onnx"}}) {
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 0) << words[0] << ": " << outcome.err;
  }
}

TEST(Quantize, APrunedNetworkIsQuantisedToo) {
  const Folder folder;
  const std::string dense = tiny_model(folder), small = folder / "small.safetensors", out = folder / "q.safetensors";
  ASSERT_EQ(elek_command({"coverage", "--model", dense, "--metric", "magnitude", "--channels", "0.3", "--repair", "none",
                          "--calibrate", "synthetic:60:1", "--evaluate", "synthetic:20:2", "--out", small})
                .exit_code,
            0);
  ASSERT_EQ(quantize(small, out).exit_code, 0);
  const Model made = load_model(out, host_resource());
  ASSERT_EQ(made.history.size(), load_model(small, host_resource()).history.size() + 1);
  EXPECT_EQ(made.history.back().action, "quantize");
}

TEST(Quantize, ACutQuantisesLast) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "q.safetensors";
  Words words{"coverage", "--model", dense,         "--metric",       "magnitude",  "--channels",     "0.3",
              "--repair", "refit",   "--calibrate", "synthetic:60:1", "--evaluate", "synthetic:40:2", "--quantize",
              "int8",     "--json"};
  EXPECT_EQ(elek_command(words).exit_code, 2);  // no --out
  words.insert(words.end(), {"--out", out});
  const Outcome outcome = elek_command(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json accuracy = outcome.json().at("accuracy");
  const Outcome eval = elek_command({"eval", "--model", out, "--data", "synthetic:40:2", "--precision", "int8", "--json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_EQ(eval.json().at("top1"), accuracy.at("quantized"));
  const Model made = load_model(out, host_resource());
  ASSERT_GE(made.history.size(), 2);
  EXPECT_EQ(made.history.back().action, "quantize");
  EXPECT_EQ(elek_command({"wanda", "--model", dense, "--sparsity", "0.3", "--calibrate", "synthetic:60:1", "--evaluate",
                          "synthetic:40:2", "--quantize", "int4", "--out", folder / "x.safetensors"})
                .exit_code,
            2);
}

TEST(Quantize, MisuseIsRefused) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "q.safetensors", again = folder / "again.safetensors";
  const auto refused = [&](const Outcome& outcome, const std::string& text) {
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  refused(elek_command({"eval", "--model", dense, "--data", "synthetic:4:1", "--precision", "int8"}), "elek quantize");
  refused(quantize(dense, out, {"--rounding", "up"}), "nearest or moments");
  refused(quantize(dense, out, {"--keep", "nowhere"}), "nowhere");
  refused(quantize(dense, out, {"--precision", "int8"}), "leave the option out");
  refused(quantize(dense, dense), "is also the file of");
  EXPECT_FALSE(std::filesystem::exists(out));
  ASSERT_EQ(quantize(dense, out, {"--rounding", "nearest"}).exit_code, 0);
  refused(quantize(out, again), "quantised");
  refused(elek_command({"coverage", "--model", out, "--metric", "magnitude", "--channels", "0.3", "--calibrate",
                        "synthetic:60:1", "--evaluate", "synthetic:20:2", "--out", again}),
          "quantised");
  refused(elek_command({"tune", "--model", out, "--teacher", dense, "--data", "synthetic:60:4", "--out", again}), "quantised");
  EXPECT_FALSE(std::filesystem::exists(again));
}

}  // namespace
}  // namespace elek::test
