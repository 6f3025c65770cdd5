// SPDX-License-Identifier: Apache-2.0
// elek compare: rows contain the figures of the files, differences are to the first file, and files without a common metric are
// refused.
#include <array>
#include <cstdio>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

json row_of(const json& compared, const std::string& metric) {
  for (const json& row : compared.at("rows")) {
    if (row.at("metric") == metric) return row;
  }
  ADD_FAILURE() << "no row " << metric << " in " << compared.dump();
  return {{"values", {0, 0, 0}}, {"differences", {0, 0, 0}}};
}

TEST(Compare, ModelsAndCutsAndSweepsSayTheSameOfOneCut) {
  const Folder folder;
  const std::string model = tiny_model(folder), small = folder / "small.safetensors";
  const Words data{"--model",        model,      "--calibrate", "synthetic:60:1", "--evaluate",
                   "synthetic:50:2", "--repair", "none",        "--json"};
  const auto run = [&](Words words, const std::string& file) {
    words.insert(words.end(), data.begin(), data.end());
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    write_text(folder / file, outcome.out);
    return outcome.json();
  };
  const json cut = run({"coverage", "--metric", "std-consumer", "--channels", "0.5", "--out", small}, "cut.json");
  (void)run({"sweep", "--channels", "0.5", "--metric", "std-consumer"}, "a.json");
  const json sweep = run({"sweep", "--channels", "0.5", "--metric", "std-consumer,rms"}, "b.json");

  const json three = elek_command({"compare", model, small, folder / "cut.json", "--json"}).json();
  for (const auto& [metric, key] :
       {std::pair<std::string, std::string>{"parameters", "parameters"}, {"MACs", "macs"}, {"file", "file_bytes"}}) {
    const json row = row_of(three, metric);
    const double dense = cut.at(key).at("dense"), pruned = cut.at(key).at("pruned");
    EXPECT_EQ(row.at("values"), json({dense, pruned, pruned})) << metric;
    EXPECT_EQ(row.at("differences"), json({nullptr, pruned - dense, pruned - dense})) << metric;
  }
  const Outcome table = elek_command({"compare", model, small});
  const double macs = cut.at("macs").at("dense"), kept = cut.at("macs").at("pruned");
  std::array<char, 32> change{};
  (void)std::snprintf(change.data(), change.size(), "(%+.1f %%)", 100 * (kept - macs) / macs);
  EXPECT_THAT(table.out, HasSubstr(change.data()));

  const json sweeps = elek_command({"compare", folder / "a.json", folder / "b.json", folder / "cut.json", "--json"}).json();
  const double accuracy = cut.at("accuracy").at("pruned");
  EXPECT_EQ(row_of(sweeps, "std-consumer 50 %, just pruned").at("values"), json({accuracy, accuracy, nullptr}));
  const double dense = cut.at("accuracy").at("dense");
  EXPECT_EQ(row_of(sweeps, "top-1 dense").at("values"), json({dense, dense, dense}));
  EXPECT_THAT(sweeps.dump(), ::testing::Not(HasSubstr("rms"))) << "only one of them knows it";
  EXPECT_THAT(sweep.dump(), HasSubstr("rms"));
}

TEST(Compare, ModelFilesTellTheAccuraciesOfTheirHistory) {
  const Folder folder;
  const std::string dense = folder / "dense.safetensors", small = folder / "small.safetensors", plain = tiny_model(folder);
  ASSERT_EQ(elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "8", "--input", "3,16,16", "--random", "1",
                          "--evaluate", "synthetic:50:2", "--out", dense})
                .exit_code,
            0);
  const auto cut = [&](const std::string& data, const std::string& repair, const std::string& out) {
    return elek_command({"coverage", "--model", dense, "--calibrate", "synthetic:60:1", "--evaluate", data, "--channels", "0.5",
                         "--repair", repair, "--out", out, "--json"})
        .json();
  };
  const json made = cut("synthetic:50:2", "bn", small);
  const json& accuracy = made.at("accuracy");
  const Outcome table = elek_command({"compare", dense, small});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, ::testing::Not(HasSubstr("measured on different images")));
  const json two = elek_command({"compare", dense, small, "--json"}).json();
  EXPECT_EQ(row_of(two, "top-1").at("values"), json({accuracy.at("dense"), accuracy.at("repaired")}));
  EXPECT_EQ(row_of(two, "top-1 dense").at("values"), json({accuracy.at("dense"), accuracy.at("dense")}));
  EXPECT_EQ(row_of(two, "evaluation images").at("values"), json({50, 50}));
  const json& evaluation = two.at("files").at(1).at("evaluation");
  EXPECT_EQ(evaluation, two.at("files").at(0).at("evaluation"));
  EXPECT_EQ(evaluation.at("data"), "synthetic:50:2");
  EXPECT_EQ(evaluation.at("samples"), 50);

  // The history is also shown to readers, and a cut's report and its file agree in every row.
  const Outcome told = elek_command({"info", "--model", small, "--history"});
  EXPECT_THAT(told.out, HasSubstr("just pruned"));
  EXPECT_THAT(told.out, HasSubstr(evaluation.at("hash").get<std::string>()));
  write_text(folder / "cut.json", made.dump());
  const json same = elek_command({"compare", small, folder / "cut.json", "--json"}).json();
  for (const char* metric : {"top-1", "top-1 dense", "top-1 just pruned", "top-1 repaired"}) {
    EXPECT_EQ(row_of(same, metric).at("differences").at(1), 0) << metric;
  }

  // Without repair, on other images, and without any: what exists is shown, and differences in the images are reported.
  const json unrepaired = cut("synthetic:50:3", "none", folder / "other.safetensors");
  const Outcome other = elek_command({"compare", small, folder / "other.safetensors", plain});
  EXPECT_THAT(other.out, HasSubstr("measured on different images"));
  EXPECT_THAT(other.out, HasSubstr("synthetic:50:3"));
  const json three = elek_command({"compare", small, folder / "other.safetensors", plain, "--json"}).json();
  EXPECT_EQ(row_of(three, "top-1").at("values"),
            json({accuracy.at("repaired"), unrepaired.at("accuracy").at("pruned"), nullptr}));
  EXPECT_THAT(three.at("rows").dump(), ::testing::Not(HasSubstr("top-1 repaired"))) << "only one of them was";
}

TEST(Compare, DifferencesWithinTheNoiseAreMarked) {
  const Folder folder;
  const auto eval = [&](const std::string& name, double top1, int samples) {
    write_text(folder / name, json({{"command", "eval"}, {"top1", top1}, {"samples", samples}, {"loss", nullptr}}).dump());
    return folder / name;
  };
  // sqrt(2 * 0.9 * 0.1 / 1000) = 0.0134: two of them are 2.7 points.
  const std::string a = eval("a.json", 0.90, 1000), near = eval("near.json", 0.88, 1000), far = eval("far.json", 0.85, 1000);
  const Outcome outcome = elek_command({"compare", a, near, far});
  EXPECT_THAT(outcome.out, HasSubstr("88.00 % (-2.00~)"));
  EXPECT_THAT(outcome.out, HasSubstr("85.00 % (-5.00)"));
  EXPECT_THAT(outcome.out, ::testing::Not(HasSubstr("loss"))) << "null is no figure";
}

TEST(Compare, WhatCannotBeComparedIsRefused) {
  const Folder folder;
  const auto file = [&](const std::string& name, const std::string& text) {
    write_text(folder / name, text);
    return folder / name;
  };
  const std::string eval = file("eval.json", R"({"command": "eval", "top1": 0.5})");
  const std::string info = file("info.json", R"({"command": "info", "macs": 5})");
  const Outcome nothing = elek_command({"compare", eval, info});
  EXPECT_EQ(nothing.exit_code, 3);
  EXPECT_THAT(nothing.err, HasSubstr("nothing to compare"));
  EXPECT_THAT(nothing.err, HasSubstr("eval.json (eval)"));
  EXPECT_EQ(elek_command({"compare", eval}).exit_code, 2);
  for (const std::string& bad :
       {file("cut.json", R"({"command": "eval", "top1": )"), file("list.json", "[1]"), file("plain.json", "{}"),
        file("other.json", R"({"command": "prepare"})"), file("broken.json", R"({"command": "sweep", "points": 3})"),
        file("text.safetensors", "{}"), folder / "none.json"}) {
    const Outcome outcome = elek_command({"compare", eval, bad});
    EXPECT_EQ(outcome.exit_code, 3) << bad << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(bad));
  }
}

}  // namespace
}  // namespace elek::test
