// SPDX-License-Identifier: Apache-2.0
// Every network of the tests, dense, pruned, repaired, masked, and masked and repaired: saved, loaded, written as ONNX and
// imported again, it gives the same logits bit for bit. The networks: all weights files and ONNX files of tests/fixtures, and
// the architectures that elek builds. The large ones are labelled slow.
#include <filesystem>

#include "elek/model.h"
#include "models/import.h"
#include "models/model_file.h"
#include "models/onnx/import.h"
#include "prune/apply.h"
#include "prune/refit.h"
#include "prune/score.h"
#include "tests/golden/session_support.h"
#include "tests/models/import_files.h"
#include "tests/prune/array_source.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 3, kCalibration = 6;

SessionOptions one_thread(int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  options.threads = 1;
  return options;
}

std::vector<float> logits_of(const Model& model) {
  Session session(model, one_thread(kSamples));
  return run_all(session, tiny_pixels(model.graph.input_shape(), kSamples, 5), kSamples, kSamples);
}

void expect_comes_back(const Model& model) {
  const Folder folder;
  save_model(model, folder / "m.safetensors");
  const Model loaded = load_model(folder / "m.safetensors", host_resource());
  save_onnx(loaded, folder / "m.onnx", 0);
  const Model back = import_onnx(folder / "m.onnx", {}, host_resource()).model;
  save_model(back, folder / "again.safetensors");
  const Model again = load_model(folder / "again.safetensors", host_resource());
  const std::vector<float> logits = logits_of(model);
  EXPECT_TRUE(std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); }));
  EXPECT_EQ(logits_of(loaded), logits);
  EXPECT_EQ(logits_of(again), logits);
  EXPECT_EQ(hash(again), hash(model));
  EXPECT_EQ(again.preprocessing.mean, model.preprocessing.mean);
  EXPECT_EQ(again.preprocessing.stddev, model.preprocessing.stddev);
}

Model repaired(const Model& dense, const Model& changed, const PrunePlan& plan) {
  ArraySource source(tiny_pixels(dense.graph.input_shape(), kCalibration, 7), kCalibration);
  return refit(dense, changed, plan, source, one_thread(kCalibration), {});
}

/// Every third weight of every layer is removed.
PrunePlan mask(const Model& model) {
  PrunePlan plan;
  for (const Node& node : model.graph.nodes()) {
    if (!has_weights(node)) continue;
    WeightCut cut{node.name, std::vector<uint8_t>(model.parameter(node.name + ".weight").f32().size(), 1), 0};
    for (size_t i = 0; i < cut.keep.size(); i += 3, ++cut.removed) cut.keep[i] = 0;
    plan.weights.push_back(std::move(cut));
  }
  return plan;
}

void expect_all_come_back(const Model& dense, bool with_repair = true) {
  expect_comes_back(dense);
  const std::vector<Group> groups = find_groups(dense.graph);
  const Scores scores = score_channels(dense, groups, find_criterion("magnitude"), {}, 0);
  const PrunePlan cut = select_channels(groups, scores, dense.graph, {0.4, Scope::kLayer, 1, {}, {}});
  const PrunePlan masks = mask(dense);
  for (const PrunePlan* plan : {&cut, &masks}) {
    SCOPED_TRACE(plan == &cut ? "pruned" : "masked");
    if (plan->removes_nothing()) continue;
    const Model changed = apply(dense, *plan, host_resource());
    EXPECT_NE(hash(changed), hash(dense));
    expect_comes_back(changed);
    if (!with_repair) continue;
    SCOPED_TRACE("and repaired");
    const Model fitted = repaired(dense, changed, *plan);
    EXPECT_NE(hash(fitted), hash(changed));
    expect_comes_back(fitted);
  }
}

std::vector<std::string> files(const std::string& kind, const std::string& extension) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ELEK_TEST_DATA) + "/" + kind)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() == extension && name != "answers") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

class WeightsRoundTrip : public ::testing::TestWithParam<std::string> {};
class OnnxRoundTrip : public ::testing::TestWithParam<std::string> {};
class RoundTripOf : public ::testing::TestWithParam<std::string> {};
class LargeRoundTripOf : public ::testing::TestWithParam<std::string> {};

TEST_P(WeightsRoundTrip, GivesTheSameLogits) { expect_all_come_back(import_of(GetParam(), 32).model); }
TEST_P(OnnxRoundTrip, GivesTheSameLogits) {
  const std::string path = std::string(ELEK_TEST_DATA) + "/onnx/" + GetParam() + ".onnx";
  expect_all_come_back(import_onnx(path, {}, host_resource()).model);
}

Model random_model(const std::string& arch, Shortcut shortcut) {
  ResNetSpec spec = resnet_spec(arch);
  spec.input = {3, spec.stem == Stem::kImageNet ? 64 : 32, spec.stem == Stem::kImageNet ? 64 : 32};
  spec.classes = 10;
  spec.shortcut = shortcut;
  Model model;
  model.graph = build_resnet(spec);
  model.parameters = random_parameters(model.graph, 6, host_resource());
  model.preprocessing = default_preprocessing(3);
  return model;
}

TEST_P(RoundTripOf, GivesTheSameLogits) {
  for (const Shortcut shortcut : {Shortcut::kA, Shortcut::kB}) expect_all_come_back(random_model(GetParam(), shortcut));
}
/// Without the repair: it changes numbers and not the network, and takes minutes here.
TEST_P(LargeRoundTripOf, GivesTheSameLogits) { expect_all_come_back(random_model(GetParam(), Shortcut::kB), false); }

const auto kName = [](const auto& each) { return each.param; };
INSTANTIATE_TEST_SUITE_P(Files, WeightsRoundTrip, ::testing::ValuesIn(files("import", ".safetensors")), kName);
INSTANTIATE_TEST_SUITE_P(Files, OnnxRoundTrip, ::testing::ValuesIn(files("onnx", ".onnx")), kName);
INSTANTIATE_TEST_SUITE_P(Zoo, RoundTripOf, ::testing::Values("cifar_resnet20"), kName);
INSTANTIATE_TEST_SUITE_P(Zoo, LargeRoundTripOf,
                         ::testing::Values("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
                                           "resnext50_32x4d", "resnext101_32x8d", "cifar_resnet56", "cifar_resnet110"),
                         kName);

}  // namespace
}  // namespace elek::test
