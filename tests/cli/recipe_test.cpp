// SPDX-License-Identifier: Apache-2.0
// The command adds nothing to a cut: `elek coverage` and the library's cut() make the same network, with the same masks,
// weights, accuracies and history.
#include "core/runtime.h"
#include "elek/data.h"
#include "elek/prune.h"
#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

TEST(LibraryRecipe, MakesWhatTheCommandMakes) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const std::string train = "idx:" + shipped_data() + ":train", test = "idx:" + shipped_data() + ":test[0:200]";
  const Outcome outcome = elek_command({"coverage", "--model", model, "--calibrate", train, "--evaluate", test, "--max-batches",
                                        "2", "--threads", "2", "--device", "cpu", "--out", folder / "cut", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Model by_command = load_model(folder / "cut", host_resource());

  const Model dense = load_model(model, host_resource());
  const ImageShape& shape = dense.graph.input_shape();
  const auto images = parse_data(test, shape);
  const auto calibrate = make_loader(parse_data(train, shape), {.shuffle_seed = 0, .limit = 100, .description = train});
  const auto evaluate = make_loader(images, {.description = test});
  CutOptions options;
  options.session.threads = 2;
  options.evaluation_hash = to_hex(content_hash(*images));
  CutObserver nobody;
  const CutReport report = cut(dense, *calibrate, evaluate.get(), options, nobody);

  EXPECT_EQ(hash(report.model), hash(by_command));
  EXPECT_EQ(history_to_json(report.model.history), history_to_json(by_command.history));
  EXPECT_EQ(outcome.json().at("accuracy").at("repaired"), report.repaired->accuracy.top1);
}

}  // namespace
}  // namespace elek::test
