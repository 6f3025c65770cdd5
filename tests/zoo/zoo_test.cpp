// SPDX-License-Identifier: Apache-2.0
// Every network that elek builds: 30 % of every group's channels are removed. The compact network equals the masked dense one
// within the derived bound; it is saved, loaded and run, and gives the same logits to the bit. Images are small, because
// channels are what is cut. The large networks are labelled slow.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "elek/model.h"
#include "models/model_file.h"
#include "prune/apply.h"
#include "prune/score.h"
#include "tests/golden/session_support.h"
#include "tests/prune/array_source.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 2;

struct Net {
  std::string arch;
  Shortcut shortcut = Shortcut::kB;
};

Model random_model(const Net& net) {
  ResNetSpec spec = resnet_spec(net.arch);
  spec.input = {3, spec.stem == Stem::kImageNet ? 64 : 32, spec.stem == Stem::kImageNet ? 64 : 32};
  spec.classes = 10;
  spec.shortcut = net.shortcut;
  Model dense;
  dense.architecture = net.arch;
  dense.graph = build_resnet(spec);
  dense.parameters = random_parameters(dense.graph, 6, host_resource());
  dense.preprocessing = default_preprocessing(3);
  return dense;
}

std::vector<float> answers(const Model& model, const std::vector<uint8_t>& pixels) {
  SessionOptions options;
  options.batch = kSamples;
  Session session(model, options);
  return run_all(session, pixels, kSamples, kSamples);
}

/// A file that is removed after the test.
struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / ("elek-zoo-" + std::to_string(::getpid()))).string();
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

void cut_save_load_run(const Net& net) {
  const Model dense = random_model(net);
  const std::vector<Group> groups = find_groups(dense.graph);
  const auto scores = score_channels(dense, groups, find_criterion("magnitude"), {}, 0);
  const PrunePlan plan = select_channels(groups, scores, dense.graph, {0.3, Scope::kLayer, 1, {}, {}});
  int64_t prunable = 0;
  for (const Group& group : groups) prunable += group.prunable ? 1 : 0;
  ASSERT_GT(prunable, 0);
  ASSERT_EQ(std::ssize(plan.groups), prunable);  // every group lost some
  for (const GroupCut& cut : plan.groups) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == cut.group; });
    EXPECT_NEAR(static_cast<double>(cut.keep.size()), 0.7 * static_cast<double>(cut.channels),
                std::max(0.5, 0.5 * static_cast<double>(group->conv_groups)) + 1e-9)
        << cut.group;
  }
  // The cut needs no more memory than the pruned network beside the dense one: unchanged tensors are shared.
  Tracker tracker(host_resource());
  const Model compact = apply(dense, plan, tracker);
  const auto dense_bytes = static_cast<double>(parameter_bytes(dense));
  const auto pruned_bytes = static_cast<double>(parameter_bytes(compact));
  EXPECT_LT(pruned_bytes, 0.75 * dense_bytes);
  EXPECT_LE(dense_bytes + static_cast<double>(tracker.figures().peak_bytes), 1.1 * (dense_bytes + pruned_bytes));
  EXPECT_LE(static_cast<double>(tracker.figures().peak_bytes), 1.02 * pruned_bytes + 4096);

  const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kSamples, 3);
  ArraySource source(pixels, kSamples);
  SessionOptions options;
  options.batch = kSamples;
  const Equivalence found = check_equivalence(compact, masked(dense, plan, host_resource()), source, options);
  EXPECT_LE(found.difference, found.bound);
  const TemporaryFile file;
  save_model(compact, file.path);
  const Model loaded = load_model(file.path, host_resource());
  EXPECT_EQ(hash(loaded), hash(compact));
  EXPECT_EQ(answers(loaded, pixels), answers(compact, pixels));
}

class Small : public ::testing::TestWithParam<Net> {};
class Large : public ::testing::TestWithParam<Net> {};

std::string name_of_net(const ::testing::TestParamInfo<Net>& info) {
  return info.param.arch + (info.param.shortcut == Shortcut::kA ? "_A" : "_B");
}

TEST_P(Small, LosesAThirdOfEveryGroupExactly) { cut_save_load_run(GetParam()); }
TEST_P(Large, LosesAThirdOfEveryGroupExactly) { cut_save_load_run(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Zoo, Small,
                         ::testing::Values(Net{"resnet18"}, Net{"resnext50_32x4d"}, Net{"cifar_resnet20", Shortcut::kA},
                                           Net{"cifar_resnet20"}, Net{"cifar_resnet32", Shortcut::kA}, Net{"cifar_resnet32"},
                                           Net{"cifar_resnet44", Shortcut::kA}, Net{"cifar_resnet44"},
                                           Net{"cifar_resnet56", Shortcut::kA}, Net{"cifar_resnet56"},
                                           Net{"cifar_resnet110", Shortcut::kA}, Net{"cifar_resnet110"}),
                         name_of_net);
INSTANTIATE_TEST_SUITE_P(Zoo, Large,
                         ::testing::Values(Net{"resnet34"}, Net{"resnet50"}, Net{"resnet101"}, Net{"resnet152"},
                                           Net{"wide_resnet50_2"}, Net{"wide_resnet101_2"}, Net{"resnext101_32x8d"},
                                           Net{"resnext101_64x4d"}),
                         name_of_net);

}  // namespace
}  // namespace elek::test
