// SPDX-License-Identifier: Apache-2.0
// Times of single layers: measured once, stored, read again. A group's time is the sum over the convolutions that write or read
// it.
#include "engine/layer_times.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backends/backend.h"
#include "prune/staircase.h"
#include "tests/support/models.h"

namespace elek {
namespace {

class LayerTimesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/elek_layer_times_" + std::to_string(getpid());
    std::filesystem::remove_all(folder_);
    setenv("ELEK_CACHE_DIR", folder_.c_str(), 1);
    options_.threads = 1;
  }
  void TearDown() override {
    unsetenv("ELEK_CACHE_DIR");
    std::filesystem::remove_all(folder_);
  }
  std::string folder_;
  SessionOptions options_;
};

TEST_F(LayerTimesTest, AreTakenOnceAndKept) {
  const ImageShape input{24, 9, 7};
  Conv2dAttrs conv{40, 3, 1, 1, 1, false};
  LayerTimes times(options_);
  const double us = times.us(input, conv);
  EXPECT_GT(us, 0);
  EXPECT_EQ(times.us(input, conv), us);
  EXPECT_EQ(times.measured(), 1);
  LayerTimes other(options_);
  EXPECT_EQ(other.us(input, conv), us) << "read from the disk";
  EXPECT_EQ(other.measured(), 0);
  conv.out_channels = 41;
  EXPECT_GT(other.us(input, conv), 0);
  EXPECT_EQ(other.measured(), 1);
  for (const auto& file : std::filesystem::directory_iterator(folder_ + "/plans")) std::ofstream(file.path()) << "no plan";
  LayerTimes again(options_);
  EXPECT_GT(again.us(input, conv), 0);
  EXPECT_EQ(again.measured(), 1) << "what is corrupt is timed anew";
}

/// A cached time belongs to the kernels that were timed: the key holds the hash of their sources, and no other key is read.
TEST_F(LayerTimesTest, AreKeptUnderTheKernelsSources) {
  LayerTimes times(options_);
  EXPECT_GT(times.us({24, 9, 7}, {40, 3, 1, 1, 1, false}), 0);
  const std::string hash(backend_of(DeviceKind::kCpu).timed_sources);
  ASSERT_EQ(hash.size(), 16U);
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/plans")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    EXPECT_NE(bytes.find(hash), std::string::npos) << "the entry's key";
  }
}

TEST_F(LayerTimesTest, AGroupIsTheSumOfItsConvolutions) {
  for (const auto& tiny : {test::TinyOptions{}, test::tiny_bottleneck_options()}) {
    const Graph graph = test::tiny_graph(tiny);
    LayerTimes times(options_);
    for (const Group& group : find_groups(graph)) {
      if (!group.prunable) continue;
      double want = 0;
      for (const ValueId id : group.producers) {
        const Node& node = graph.node(id);
        Conv2dAttrs conv = node.as<Conv2dAttrs>();
        conv.out_channels = group.conv_groups;
        want += times.us(graph.node(node.inputs[0]).shape, conv);
      }
      for (const GroupConsumer& consumer : group.consumers) {
        const Node& node = graph.node(consumer.node);
        if (!node.is<Conv2dAttrs>()) continue;
        ImageShape input = graph.node(node.inputs[0]).shape;
        input.channels = group.conv_groups;
        want += times.us(input, node.as<Conv2dAttrs>());
      }
      const int64_t before = times.measured();
      EXPECT_EQ(group_us(graph, group, group.conv_groups, times), want) << group.name;
      EXPECT_EQ(times.measured(), before);
    }
  }
}

}  // namespace
}  // namespace elek
