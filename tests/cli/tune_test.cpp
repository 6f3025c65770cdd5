// SPDX-License-Identifier: Apache-2.0
// elek tune and the default repair: what they say, write and refuse. What the training does: tests/train.
#include <filesystem>

#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

/// A cut of the tiny model, not repaired.
std::string cut_model(const std::string& dense, const Folder& folder) {
  const std::string out = folder / "cut.safetensors";
  const Outcome cut = elek_command({"coverage", "--model", dense, "--metric", "magnitude", "--channels", "0.4", "--repair",
                                    "refit", "--calibrate", "synthetic:60:1", "--evaluate", "synthetic:20:2", "--out", out});
  EXPECT_EQ(cut.exit_code, 0) << cut.err;
  return out;
}

TEST(Tune, BringsACutNetworkNearerToItsTeacher) {
  const Folder folder;
  const std::string dense = tiny_model(folder), small = cut_model(dense, folder), out = folder / "tuned.safetensors";
  const Outcome outcome = elek_command({"tune", "--model", small, "--teacher", dense, "--data", "synthetic:300:4", "--evaluate",
                                        "synthetic:20:2", "--batch", "20", "--passes", "8", "--out", out, "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.json();
  const auto& told = json.at("distillation");
  EXPECT_EQ(told.at("end"), "done");
  EXPECT_TRUE(told.at("improved").get<bool>());
  EXPECT_LT(told.at("loss_after").get<double>(), told.at("loss_before").get<double>());
  EXPECT_EQ(told.at("held_out"), 30);
  EXPECT_TRUE(json.at("accuracy").at("after").is_number());
  const Model before = load_model(small, host_resource()), after = load_model(out, host_resource());
  EXPECT_EQ(after.history.size(), before.history.size() + 1);
  EXPECT_EQ(after.history.back().action, "tune");
  EXPECT_EQ(after.history.back().repair, "distill");
  EXPECT_EQ(after.history.back().repair_samples, 300);
  EXPECT_NE(hash(after), hash(before));
}

TEST(Tune, LearnsLabelsWithAndWithoutATeacher) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "tuned.safetensors";
  for (const bool teacher : {false, true}) {
    Words words{"tune", "--model", dense, "--use-labels", "--data", "synthetic:200:4", "--passes", "4", "--out", out, "--json"};
    if (teacher) words.insert(words.end(), {"--teacher", dense});
    const Outcome outcome = elek_command(words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(outcome.json().at("distillation").at("improved").get<bool>());
    EXPECT_EQ(load_model(out, host_resource()).history.back().repair, teacher ? "distill+labels" : "labels");
  }
}

TEST(Tune, NothingGainedIsSaidAndWritesTheSameNetwork) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "tuned.safetensors";
  const Outcome outcome =
      elek_command({"tune", "--model", dense, "--teacher", dense, "--data", "synthetic:60:4", "--passes", "1", "--out", out});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("nothing gained"));
  EXPECT_THAT(outcome.out, HasSubstr("the same network"));
  EXPECT_EQ(hash(load_model(out, host_resource())), hash(load_model(dense, host_resource())));
}

TEST(Tune, MisuseIsRefusedBeforeTheWork) {
  const Folder folder;
  const std::string dense = tiny_model(folder), other = tiny_model(folder, 7), out = folder / "out.safetensors";
  const auto refused = [&](const Words& more, int code, const std::string& text) {
    Words words{"tune", "--data", "synthetic:60:4"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
    EXPECT_FALSE(std::filesystem::exists(out));
  };
  refused({"--model", dense, "--out", out}, 2, "--use-labels");
  refused({"--model", dense, "--teacher", dense, "--out", dense}, 2, "is also the file of");
  if (other != dense) refused({"--model", other, "--teacher", dense, "--out", out}, 2, "the same classes");
}

TEST(Tune, TheDefaultRepairDistilsAndSaysSo) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "cut.safetensors";
  const Words words{"coverage",    "--model",         dense,        "--metric",       "magnitude", "--channels", "0.4",
                    "--calibrate", "synthetic:100:1", "--evaluate", "synthetic:20:2", "--out",     out,          "--json"};
  const Outcome outcome = elek_command(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("distillation: loss on 10 images held out"));
  EXPECT_EQ(outcome.json().at("distillation").at("held_out"), 10);
  const Model made = load_model(out, host_resource());
  EXPECT_EQ(made.history.back().repair,
            outcome.json().at("distillation").at("improved").get<bool>() ? "refit+distill target=block" : "refit target=block");
  Words few = words;
  few[8] = "synthetic:15:1";
  EXPECT_THAT(elek_command(few).err, HasSubstr("not done, because it needs at least 20 images"));
}

TEST(Tune, WhatDoesNotFitIsSkippedByAutoAndAnErrorOfDistill) {
  const Folder folder;
  const std::string dense = tiny_model(folder), out = folder / "cut.safetensors";
  const auto cut = [&](const std::string& repair) {
    return elek_command({"coverage", "--model", dense, "--metric", "magnitude", "--channels", "0.4", "--calibrate",
                         "synthetic:100:1", "--evaluate", "synthetic:20:2", "--memory-limit", "7MB", "--repair", repair,
                         "--refit-target", "layer", "--out", out});
  };
  const Outcome refused = cut("distill");
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(out));
  const Outcome skipped = cut("auto");
  EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("not done, because it does not fit into the memory that is left"));
  EXPECT_EQ(load_model(out, host_resource()).history.back().repair, "refit");
}

}  // namespace
}  // namespace elek::test
