// SPDX-License-Identifier: Apache-2.0
// A trail compared with whole networks run from the images: every value from every narrow value, kept activations that grow and
// shrink in place, odd last batches. Also: it allocates once, refuses what does not fit, and stops the source.
#include "prune/trail.h"

#include <gtest/gtest.h>

#include <array>

#include "core/error.h"
#include "tests/prune/array_source.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 7;

SessionOptions options_of(int64_t batch) {
  SessionOptions options;
  options.batch = batch;  // 3: 3, 3, 1
  options.threads = 2;
  return options;
}

std::vector<float> whole(const Model& model, ValueId to, const std::vector<uint8_t>& pixels) {
  ArraySource source(pixels, kSamples);
  Trail trail(source, options_of(kSamples), {}, host_resource());
  std::vector<float> all;
  const std::array<PassOutput, 1> outputs{PassOutput{&model, 0, to}};
  trail.pass(outputs, [&](int64_t, std::span<const std::span<const float>> values) {
    all.insert(all.end(), values[0].begin(), values[0].end());
  });
  return all;
}

TEST(Trail, NarrowValuesAreWhereANetworkCanBeCut) {
  const Model model = tiny_resnet(TinyOptions{});
  std::vector<std::string> names;
  for (const ValueId v : narrow_values(model.graph)) names.push_back(model.graph.node(v).name);
  EXPECT_EQ(names.front(), "input");
  EXPECT_EQ(names.back(), model.graph.node(model.graph.output()).name);
  for (const ValueId v : narrow_values(model.graph)) {
    for (ValueId id = v + 1; id < static_cast<ValueId>(model.graph.nodes().size()); ++id) {
      for (const ValueId input : model.graph.node(id).inputs) EXPECT_GE(input, v) << model.graph.node(v).name;
    }
  }
  const std::string inside = "layer1.0.conv1";
  EXPECT_EQ(std::count(names.begin(), names.end(), inside), 0);
  EXPECT_THROW((void)part_of(model, model.graph.at(inside), model.graph.output()), ContractError);
}

TEST(Trail, EveryValueIsTheSameFromWhereverItStarts) {
  TinyOptions bottleneck = tiny_bottleneck_options();
  for (const Model& model : {tiny_resnet(TinyOptions{}), tiny_resnet(bottleneck)}) {
    const Graph& graph = model.graph;
    const std::vector<uint8_t> pixels = tiny_pixels(graph.input_shape(), kSamples, 4);
    const std::vector<float> logits = whole(model, graph.output(), pixels);
    int64_t widest = 0;
    for (const Node& node : graph.nodes()) widest = std::max(widest, node.shape.elements());
    Tracker memory(host_resource());
    SessionOptions options = options_of(3);
    options.memory = &memory;
    {
      ArraySource source(pixels, kSamples);
      const std::array<int64_t, 2> capacity{widest, widest};
      Trail trail(source, options, capacity, memory);
      const size_t kept_bytes = memory.figures().live_bytes;
      EXPECT_EQ(kept_bytes, static_cast<size_t>(2 * widest * kSamples) * sizeof(float));
      for (const ValueId from : narrow_values(graph)) {
        if (from == 0) continue;
        trail.advance(std::array<const Model*, 2>{&model, &model}, from);
        EXPECT_EQ(trail.at(), from);
        EXPECT_EQ(memory.figures().live_bytes, kept_bytes);  // sessions are gone, nothing else was kept
        const std::vector<float> want = whole(model, from, pixels);
        for (const ValueId to : {from, graph.output()}) {
          std::vector<float> got[2];
          const std::array<PassOutput, 2> outputs{PassOutput{&model, 1, to}, PassOutput{&model, 0, from}};
          EXPECT_EQ(trail.pass(outputs,
                               [&](int64_t samples, std::span<const std::span<const float>> values) {
                                 EXPECT_LE(samples, 3);
                                 for (size_t i = 0; i < 2; ++i) got[i].insert(got[i].end(), values[i].begin(), values[i].end());
                               }),
                    kSamples);
          // Other micro-batches and layouts may add in another order: f32 through the depth of these networks, as in
          // tests/golden/session_test.cpp.
          for (const auto& [values, expected] : {std::pair(&got[0], to == from ? &want : &logits), std::pair(&got[1], &want)}) {
            double scale = 0;
            for (const float v : *expected) scale = std::max(scale, std::fabs(static_cast<double>(v)));
            const Mismatch m = compare(*values, std::vector<double>(expected->begin(), expected->end()), 2e-5 * scale);
            EXPECT_EQ(m.count, 0) << graph.node(from).name << " to " << graph.node(to).name << ": " << m.message();
          }
        }
      }
      EXPECT_FALSE(source.running());
    }
    EXPECT_EQ(memory.figures().live_bytes, 0u);
  }
}

/// Outputs of one network share what they have in common: the same values as one by one, with fewer passes over it.
TEST(Trail, SeveralValuesOfOneNetworkAreTheSameTogether) {
  const Model model = tiny_resnet(TinyOptions{});
  const Graph& graph = model.graph;
  const std::vector<uint8_t> pixels = tiny_pixels(graph.input_shape(), kSamples, 4);
  const std::vector<ValueId> values{graph.at("layer2.1.relu1"), graph.at("layer2.0"), graph.at("layer2.1.bn2")};
  EXPECT_EQ(common_start(graph, -1, values, Device{}), graph.at("layer2.0"));
  EXPECT_EQ(common_start(graph, graph.at("layer2.0"), values, Device{}), graph.at("layer2.0"));
  EXPECT_EQ(common_start(graph, -1, std::vector<ValueId>{graph.at("conv1"), graph.at("bn1")}, Device{}), graph.at("conv1"));
  EXPECT_EQ(common_start(graph, -1, std::vector<ValueId>{0, graph.at("bn1")}, Device{}), -1);
  std::vector<PassOutput> outputs;
  for (const ValueId value : values) outputs.push_back({&model, 1, value});
  outputs.push_back({&model, 0, graph.output()});
  int64_t widest = 0;
  for (const Node& node : graph.nodes()) widest = std::max(widest, node.shape.elements());
  for (const char* from : {"", "layer1.1", "layer2.0"}) {
    ArraySource source(pixels, kSamples);
    const std::array<int64_t, 2> capacity{widest, widest};
    Trail trail(source, options_of(3), capacity, host_resource());
    if (*from != 0) trail.advance(std::array<const Model*, 2>{&model, &model}, graph.at(from));
    std::vector<std::vector<float>> got(outputs.size());
    trail.pass(outputs, [&](int64_t, std::span<const std::span<const float>> now) {
      for (size_t i = 0; i < now.size(); ++i) got[i].insert(got[i].end(), now[i].begin(), now[i].end());
    });
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::vector<float> want = whole(model, outputs[i].to, pixels);
      double scale = 0;
      for (const float v : want) scale = std::max(scale, std::fabs(static_cast<double>(v)));
      // As above: other micro-batches and layouts may add in another order.
      const Mismatch m = compare(got[i], std::vector<double>(want.begin(), want.end()), 2e-5 * scale);
      EXPECT_EQ(m.count, 0) << "from '" << from << "' to " << graph.node(outputs[i].to).name << ": " << m.message();
    }
  }
}

TEST(Trail, RefusesWhatDoesNotFitAndSourcesThatGiveLess) {
  const Model model = tiny_resnet(TinyOptions{});
  const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 4);
  ArraySource source(pixels, kSamples);
  const std::array<int64_t, 1> one{1};
  Trail trail(source, options_of(3), one, host_resource());
  EXPECT_THROW(trail.advance(std::array<const Model*, 1>{&model}, model.graph.output()), ContractError);
  EXPECT_EQ(trail.at(), -1);
  class Short final : public BatchSource {
   public:
    explicit Short(BatchSource& all) : all_(all) {}
    [[nodiscard]] int64_t samples() const override { return all_.samples() + 1; }
    [[nodiscard]] int64_t classes() const override { return 0; }
    [[nodiscard]] std::string description() const override { return "short"; }
    void start(std::span<Slot> slots) override { all_.start(slots); }
    [[nodiscard]] const Slot* next() override { return all_.next(); }
    void stop() noexcept override { all_.stop(); }

   private:
    BatchSource& all_;
  };
  Short less(source);
  const std::array<int64_t, 1> room{model.graph.node(model.graph.output()).shape.elements()};
  Trail cheated(less, options_of(3), room, host_resource());
  EXPECT_THROW(cheated.advance(std::array<const Model*, 1>{&model}, model.graph.output()), InputError);
  EXPECT_FALSE(source.running());
}

TEST(Trail, MacsAreThoseOfTheNodesBetween) {
  const Model model = tiny_resnet(TinyOptions{});
  const Graph& graph = model.graph;
  EXPECT_EQ(macs_between(graph, -1, graph.output()), macs(graph));
  for (const ValueId v : narrow_values(graph)) {
    EXPECT_EQ(macs_between(graph, -1, v) + macs_between(graph, v, graph.output()), macs(graph));
  }
}

}  // namespace
}  // namespace elek::test
