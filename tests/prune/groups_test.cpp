// SPDX-License-Identifier: Apache-2.0
// Groups, listed by hand for the networks that are commonly pruned, and special cases.
#include "prune/groups.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using testing::ElementsAre;

/// "name channels/convolution groups: consumers", prunable groups only, in order.
std::vector<std::string> summary(const Graph& graph) {
  std::vector<std::string> lines;
  for (const Group& group : find_groups(graph)) {
    if (!group.prunable) continue;
    std::string line = group.name + " " + std::to_string(group.channels);
    if (group.conv_groups > 1) line += "/" + std::to_string(group.conv_groups);
    line += ":";
    for (const GroupConsumer& edge : group.consumers) line += " " + graph.node(edge.node).name;
    lines.push_back(line);
  }
  return lines;
}

TEST(Groups, ResNet18) {
  const Graph graph = build_resnet(resnet_spec("resnet18"));
  EXPECT_THAT(summary(graph), ElementsAre("relu 64: layer1.0.conv1 layer1.1.conv1 layer2.0.conv1 layer2.0.downsample.0",
                                          "layer1.0.relu1 64: layer1.0.conv2", "layer1.1.relu1 64: layer1.1.conv2",
                                          "layer2.0.relu1 128: layer2.0.conv2",
                                          "layer2.0 128: layer2.1.conv1 layer3.0.conv1 layer3.0.downsample.0",
                                          "layer2.1.relu1 128: layer2.1.conv2", "layer3.0.relu1 256: layer3.0.conv2",
                                          "layer3.0 256: layer3.1.conv1 layer4.0.conv1 layer4.0.downsample.0",
                                          "layer3.1.relu1 256: layer3.1.conv2", "layer4.0.relu1 512: layer4.0.conv2",
                                          "layer4.0 512: layer4.1.conv1 fc", "layer4.1.relu1 512: layer4.1.conv2"));
  const std::vector<Group> groups = find_groups(graph);
  const Group& stage1 = group_named(groups, "relu");
  EXPECT_THAT(names(graph, stage1.values),
              ElementsAre("conv1", "bn1", "relu", "maxpool", "layer1.0.conv2", "layer1.0.bn2", "layer1.0.add", "layer1.0",
                          "layer1.1.conv2", "layer1.1.bn2", "layer1.1.add", "layer1.1"));
  EXPECT_THAT(names(graph, stage1.watched), ElementsAre("relu", "layer1.0", "layer1.1"));
  EXPECT_THAT(names(graph, stage1.producers), ElementsAre("conv1", "layer1.0.conv2", "layer1.1.conv2"));
  const Group& stage2 = group_named(groups, "layer2.0");
  EXPECT_THAT(names(graph, stage2.producers), ElementsAre("layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"));
  const Group& stage4 = group_named(groups, "layer4.0");
  EXPECT_THAT(names(graph, {stage4.consumers.back().value}), ElementsAre("flatten"));
  EXPECT_FALSE(group_named(groups, "input").prunable);
  EXPECT_FALSE(group_named(groups, "fc").prunable);
  EXPECT_EQ(groups.size(), 14U);
}

TEST(Groups, ResNet50) {
  const Graph graph = build_resnet(resnet_spec("resnet50"));
  const std::vector<std::string> lines = summary(graph);
  // The stem, two inner groups a block (16 blocks), one a stage (4).
  ASSERT_EQ(lines.size(), 1U + 32U + 4U);
  EXPECT_THAT(std::vector<std::string>(lines.begin(), lines.begin() + 8),
              ElementsAre("relu 64: layer1.0.conv1 layer1.0.downsample.0", "layer1.0.relu1 64: layer1.0.conv2",
                          "layer1.0.relu2 64: layer1.0.conv3",
                          "layer1.0 256: layer1.1.conv1 layer1.2.conv1 layer2.0.conv1 layer2.0.downsample.0",
                          "layer1.1.relu1 64: layer1.1.conv2", "layer1.1.relu2 64: layer1.1.conv3",
                          "layer1.2.relu1 64: layer1.2.conv2", "layer1.2.relu2 64: layer1.2.conv3"));
  EXPECT_EQ(lines[32], "layer4.0 2048: layer4.1.conv1 layer4.2.conv1 fc");
  const std::vector<Group> groups = find_groups(graph);
  EXPECT_THAT(names(graph, group_named(groups, "relu").values), ElementsAre("conv1", "bn1", "relu", "maxpool"));
  EXPECT_THAT(names(graph, {group_named(groups, "relu").consumers[0].value}), ElementsAre("maxpool"));
  EXPECT_THAT(names(graph, group_named(groups, "layer1.0").producers),
              ElementsAre("layer1.0.conv3", "layer1.0.downsample.0", "layer1.1.conv3", "layer1.2.conv3"));
}

TEST(Groups, CifarResNet20WithOptionAIsOneGroupAStage) {
  const Graph graph = build_resnet(resnet_spec("cifar_resnet20"));
  EXPECT_THAT(summary(graph), ElementsAre("relu 16: layer1.0.conv1 layer1.1.conv1 layer1.2.conv1 layer2.0.conv1",
                                          "layer1.0.relu1 16: layer1.0.conv2", "layer1.1.relu1 16: layer1.1.conv2",
                                          "layer1.2.relu1 16: layer1.2.conv2", "layer2.0.relu1 32: layer2.0.conv2",
                                          "layer2.0 32: layer2.1.conv1 layer2.2.conv1 layer3.0.conv1",
                                          "layer2.1.relu1 32: layer2.1.conv2", "layer2.2.relu1 32: layer2.2.conv2",
                                          "layer3.0.relu1 64: layer3.0.conv2", "layer3.0 64: layer3.1.conv1 layer3.2.conv1 fc",
                                          "layer3.1.relu1 64: layer3.1.conv2", "layer3.2.relu1 64: layer3.2.conv2"));
  const std::vector<Group> groups = find_groups(graph);
  const Group& stage2 = group_named(groups, "layer2.0");
  EXPECT_THAT(names(graph, stage2.values), testing::Contains("layer2.0.shortcut"));
  EXPECT_THAT(names(graph, group_named(groups, "relu").values), testing::Not(testing::Contains("layer2.0.shortcut")));
  EXPECT_THAT(names(graph, stage2.producers), ElementsAre("layer2.0.conv2", "layer2.1.conv2", "layer2.2.conv2"));
}

TEST(Groups, ResNeXt50KeepsEqualCountsASlice) {
  const Graph graph = build_resnet(resnet_spec("resnext50_32x4d"));
  const std::vector<std::string> lines = summary(graph);
  ASSERT_EQ(lines.size(), 37U);
  EXPECT_THAT(std::vector<std::string>(lines.begin(), lines.begin() + 4),
              ElementsAre("relu 64: layer1.0.conv1 layer1.0.downsample.0", "layer1.0.relu1 128/32: layer1.0.conv2",
                          "layer1.0.relu2 128/32: layer1.0.conv3",
                          "layer1.0 256: layer1.1.conv1 layer1.2.conv1 layer2.0.conv1 layer2.0.downsample.0"));
}

TEST(Groups, DepthwiseTiesAndFlattenSpreads) {
  const Graph graph = depthwise_and_flatten(1).graph;
  EXPECT_THAT(summary(graph), ElementsAre("expand.relu 6: depthwise project", "project.relu 4: hidden", "hidden.relu 5: fc"));
  const std::vector<Group> groups = find_groups(graph);
  const Group& inner = group_named(groups, "expand.relu");
  EXPECT_THAT(names(graph, inner.producers), ElementsAre("expand", "depthwise"));
  EXPECT_EQ(segments_in(inner, graph.at("depthwise")).front().count, 6);
  const Group& flat = group_named(groups, "project.relu");
  EXPECT_THAT(names(graph, flat.values), ElementsAre("project", "project.relu", "flatten"));
  EXPECT_EQ(segments_in(flat, graph.at("flatten")).front().count, 4 * 16);
  EXPECT_EQ(channels_of(graph, flat, graph.at("flatten"))[33], 2);
  EXPECT_TRUE(is_classifier(graph, groups, graph.at("fc")));
  EXPECT_FALSE(is_classifier(graph, groups, graph.at("hidden")));
}

TEST(Groups, SlicesThatCannotLoseAChannelAreNotPrunable) {
  Graph graph;  // 4 inputs in 4 groups with 8 outputs: each output pair hangs on one input
  ValueId v = graph.add("input", InputAttrs{{3, 4, 4}}, {});
  v = graph.add("a", Conv2dAttrs{4, 1, 1, 0, 1, false}, {v});
  v = graph.add("b", Conv2dAttrs{8, 3, 1, 1, 4, false}, {v});
  v = graph.add("c", Conv2dAttrs{6, 1, 1, 0, 2, false}, {v});
  graph.add("fc", Conv2dAttrs{3, 1, 1, 0, 3, false}, {graph.add("d", Conv2dAttrs{9, 1, 1, 0, 3, false}, {v})});
  EXPECT_THAT(summary(graph), ElementsAre("b 8/4: c", "d 9/3: fc"));  // c: 6 channels in lcm(2, 3) groups of one
}

TEST(Groups, FlattensThatDisagreeCannotBeCut) {
  Graph graph;  // 2 channels of 3x1 and 3 of 2x1 added as 6 features: no cut suits both
  const ValueId input = graph.add("input", InputAttrs{{1, 3, 1}}, {});
  const ValueId a = graph.add("a", Conv2dAttrs{2, 1, 1, 0, 1, false}, {input});
  const ValueId b = graph.add("b", Conv2dAttrs{3, 1, 2, 0, 1, false}, {input});
  const ValueId fa = graph.add("fa", FlattenAttrs{}, {a});
  const ValueId fb = graph.add("fb", FlattenAttrs{}, {b});
  graph.add("fc", LinearAttrs{2, true}, {graph.add("sum", AddAttrs{}, {fa, fb})});
  EXPECT_TRUE(summary(graph).empty());
}

TEST(Groups, DeadReadersDoNotCount) {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{1, 3, 3}}, {});
  const ValueId a = graph.add("a", Conv2dAttrs{2, 1, 1, 0, 1, false}, {input});
  const ValueId out = graph.add("out", Conv2dAttrs{2, 1, 1, 0, 1, false}, {a});
  graph.add("dead", Conv2dAttrs{2, 1, 1, 0, 1, false}, {a});
  graph.set_output(out);
  EXPECT_EQ(summary(graph)[0], "a 2: out");
}

TEST(Groups, RefusesGroupsOfAnotherGraph) {
  const std::vector<Group> groups = find_groups(tiny_basic(1).graph);
  EXPECT_THROW((void)segments_of_values(depthwise_and_flatten(1).graph, groups), ContractError);
  EXPECT_THROW((void)segments_of_values(build_resnet(resnet_spec("resnet18")), groups), ContractError);
}

}  // namespace
}  // namespace elek::test
