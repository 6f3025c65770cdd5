// SPDX-License-Identifier: Apache-2.0
// Results that would mislead are told: logits that are no numbers, weights that were zero before, and a repair that does
// harm.
#include <filesystem>

#include "elek/memory.h"
#include "models/model_file.h"
#include "tests/cli/command.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A network with finite weights whose logits overflow.
std::string overflowing(const Folder& folder) {
  Model model = load_model(tiny_model(folder), host_resource());
  for (auto& [name, tensor] : model.parameters) {
    if (!name.ends_with("conv1.weight")) continue;
    auto large = std::make_shared<Tensor>(tensor->clone(host_resource(), {name, Use::kModel}));
    for (float& value : large->f32()) value *= 1e30F;
    tensor = std::move(large);
  }
  const std::string path = folder / "overflow.safetensors";
  save_model(model, path);
  return path;
}

TEST(Results, LogitsThatAreNoNumbers) {
  const Folder folder;
  const std::string model = overflowing(folder);
  const std::string says = "of 20 images are NaN or infinite";
  EXPECT_THAT(elek_command({"eval", "--model", model, "--data", "synthetic:20"}).err, HasSubstr(says));
  EXPECT_THAT(elek_command({"run", "--model", model, "--data", "synthetic:20", "--out", folder / "logits"}).err,
              HasSubstr(says));
  write_file(folder / "x.png", png(16, 16, 3, ramp(768)));
  EXPECT_THAT(elek_command({"run", "--model", model, folder / "x.png"}).err, HasSubstr("of 1 images are NaN"));
  const Outcome cut = elek_command({"coverage", "--model", model, "--calibrate", "synthetic:20:1", "--evaluate",
                                    "synthetic:20:2", "--metric", "magnitude", "--out", folder / "cut.safetensors"});
  EXPECT_EQ(cut.exit_code, 3);
  EXPECT_THAT(cut.err, AllOf(HasSubstr("the cut cannot be checked"), Not(HasSubstr("report it"))));
  EXPECT_FALSE(fs::exists(folder / "cut.safetensors"));
  EXPECT_THAT(elek_command({"eval", "--model", folder / "tiny.safetensors", "--data", "synthetic:20"}).err,
              Not(HasSubstr("warning")));
}

TEST(Results, WeightsThatAreZeroAlreadyAreNotRemovedAgain) {
  const Folder folder;
  const std::string model = tiny_model(folder), half = folder / "half.safetensors", out = folder / "out.safetensors";
  const auto wanda = [&](const std::string& from, const std::string& share, const std::string& to) {
    return elek_command({"wanda", "--model", from, "--calibrate", "synthetic:20:1", "--evaluate", "synthetic:20:2",
                         "--sparsity", share, "--repair", "none", "--json", "--out", to});
  };
  const Outcome first = wanda(model, "0.5", half);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  for (const char* share : {"0.3", "0.5"}) {
    const Outcome again = wanda(half, share, out);
    EXPECT_EQ(again.exit_code, 2) << again.err;
    EXPECT_THAT(again.err, HasSubstr("removes nothing"));
    EXPECT_FALSE(fs::exists(out));
  }
  const Outcome more = wanda(half, "0.75", out);
  ASSERT_EQ(more.exit_code, 0) << more.err;
  const auto json = more.json(), before = first.json();
  const auto of = [&](const char* stage) { return json.at("nonzero_parameters").at(stage).get<int64_t>(); };
  EXPECT_EQ(of("dense"), before.at("nonzero_parameters").at("pruned"));
  int64_t kept_before = 0, kept = 0;
  for (const auto& cut : before.at("cuts")) kept_before += cut.at("kept").get<int64_t>();
  for (const auto& cut : json.at("cuts")) kept += cut.at("kept").get<int64_t>();
  EXPECT_EQ(kept_before - kept, of("dense") - of("pruned")) << "the cuts say what is left";
  const Outcome replayed =
      elek_command({"wanda", "--model", half, "--calibrate", "synthetic:20:1", "--evaluate", "synthetic:20:2", "--repair",
                    "none", "--json", "--replay", half, "--out", folder / "r.safetensors"});
  EXPECT_EQ(replayed.exit_code, 2) << replayed.err;
}

/// Calibrated with black images, the repair destroys what the cut left.
TEST(Results, ARepairThatDoesHarmIsToldAndNotKept) {
  const Folder folder;
  fs::create_directories(folder / "black/a");
  for (int i = 0; i < 4; ++i) write_file(folder / ("black/a/" + std::to_string(i) + ".png"), png(28, 28, 1, Bytes(784, 0)));
  const std::string out = folder / "out.safetensors", data = "idx:" + shipped_data() + ":test[0:300]";
  const Outcome cut =
      elek_command({"coverage", "--model", shipped_model(folder), "--calibrate", "images:" + (folder / "black"), "--evaluate",
                    data, "--metric", "magnitude", "--channels", "0.2", "--repair", "refit", "--json", "--out", out});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  const auto json = cut.json();
  EXPECT_THAT(cut.err, AllOf(HasSubstr("the repair refit makes the network worse"), HasSubstr("just pruned is kept")));
  EXPECT_TRUE(json.at("accuracy").at("repaired").is_null());
  const Outcome eval = elek_command({"eval", "--model", out, "--data", data, "--json"});
  EXPECT_EQ(eval.json().at("top1"), json.at("accuracy").at("pruned")) << "the file holds the network just pruned";
  const auto entry = elek_command({"info", "--model", out, "--json"}).json().at("history").back();
  EXPECT_EQ(entry.at("repair"), "none");
}

}  // namespace
}  // namespace elek::test
