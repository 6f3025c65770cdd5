// SPDX-License-Identifier: Apache-2.0
// The distillation: it brings a disturbed network back to its dense one, never returns a worse one, and keeps its promises
// about memory, time, masks and order. Its loss is compared with the definition in double.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/data.h"
#include "elek/train.h"
#include "tests/prune/array_source.h"
#include "tests/support/models.h"
#include "train/change_image.h"
#include "train/logit_loss.h"

namespace elek::train {
namespace {

SessionOptions session(MemoryResource* memory = nullptr) {
  SessionOptions options;
  options.threads = 2;
  options.memory = memory;
  return options;
}

/// The network with noise on all weights of its convolutions.
Model disturbed(const Model& model, double noise, uint64_t seed) {
  Model made = model;
  Random random(seed);
  for (const Node& node : model.graph.nodes()) {
    if (!has_weights(node)) continue;
    const std::string name = node.name + ".weight";
    auto tensor = std::make_shared<Tensor>(model.parameter(name).clone(host_resource(), name));
    for (float& w : tensor->f32()) w *= static_cast<float>(1 + noise * random.normal());
    made.parameters[name] = std::move(tensor);
  }
  return made;
}

/// Mean loss over images, by sessions of the two networks.
double loss_on(const Model& dense, const Model& student, const std::vector<uint8_t>& pixels, int64_t samples) {
  LogitLoss loss(dense.graph.node(dense.graph.output()).shape.elements());
  SessionOptions options = session();
  options.batch = samples;
  Session a(dense, options), b(student, options);
  Slot slot = a.slots()[0];
  std::copy(pixels.begin(), pixels.end(), slot.pixels);
  slot.count = samples;
  const auto t = a.run(slot);
  loss.add(b.run(slot), t);
  return loss.value();
}

struct Case {
  Model dense = test::tiny_resnet();
  Model student = disturbed(dense, 0.3, 5);
  std::vector<uint8_t> pixels = test::tiny_pixels(dense.graph.input_shape(), 200, 1);
  std::vector<uint8_t> others = test::tiny_pixels(dense.graph.input_shape(), 100, 2);
};

TEST(Distill, BringsADisturbedNetworkBack) {
  const Case c;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  int64_t last = 0, total = 0;
  const Model made = distill(
      c.dense, c.student, source, session(), {.passes = 8, .batch = 20},
      [&](int64_t done, int64_t of) { last = done, total = of; }, report);
  EXPECT_EQ(report.end, DistillReport::End::kDone);
  EXPECT_EQ(report.held_out, 20);
  EXPECT_TRUE(report.improved);
  EXPECT_LT(report.loss_after, report.loss_before);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, 8 * 180);
  // on images that it never saw
  EXPECT_LT(loss_on(c.dense, made, c.others, 100), 0.7 * loss_on(c.dense, c.student, c.others, 100));
  EXPECT_FALSE(source.running());
}

TEST(Distill, IsTheSameEveryTimeAndOnAnyThreads) {
  const Case c;
  const auto run = [&](int threads, uint64_t seed) {
    test::ArraySource source(c.pixels, 200);
    SessionOptions options = session();
    options.threads = threads;
    DistillReport report;
    return hash(distill(c.dense, c.student, source, options, {.passes = 2, .batch = 20, .seed = seed}, {}, report));
  };
  const uint64_t one = run(1, 0);
  EXPECT_EQ(run(1, 0), one);
  EXPECT_EQ(run(2, 0), one);
  EXPECT_NE(run(1, 1), one);
}

/// A batch in parts gives the same step up to rounding: here with room for one image, for a few and for all.
TEST(Distill, ASmallArenaTakesTheBatchInParts) {
  const Case c;
  std::vector<double> losses;
  std::vector<size_t> bytes;
  for (const size_t arena : {size_t{1}, size_t{1'000'000}, size_t{1} << 30}) {
    test::ArraySource source(c.pixels, 200);
    DistillReport report;
    (void)distill(c.dense, c.student, source, session(), {.passes = 2, .batch = 20, .arena_bytes = arena}, {}, report);
    losses.push_back(report.loss_after);
    bytes.push_back(report.trainer_bytes);
  }
  EXPECT_LT(bytes[0], bytes[1]);
  EXPECT_LT(bytes[1], bytes[2]);
  for (const double loss : losses) EXPECT_NEAR(loss, losses[2], 1e-2 * losses[2]);  // rounding, grown over 18 steps
}

TEST(Distill, NeverReturnsAWorseNetwork) {
  const Case c;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  // from the dense network itself, whose loss is 0
  EXPECT_EQ(hash(distill(c.dense, c.dense, source, session(), {.passes = 2, .batch = 20}, {}, report)), hash(c.dense));
  EXPECT_FALSE(report.improved);
  EXPECT_EQ(report.loss_after, report.loss_before);
  // with a step that wrecks it
  const Model wrecked = distill(c.dense, c.student, source, session(), {.passes = 2, .step = 1e8, .batch = 20}, {}, report);
  EXPECT_LE(report.loss_after, report.loss_before);
  EXPECT_EQ(report.end, DistillReport::End::kDiverged);
  EXPECT_TRUE(report.improved || hash(wrecked) == hash(c.student));
}

TEST(Distill, KeepsMaskedWeightsAndTheGraph) {
  Case c;
  const std::string name = "layer2.0.conv1.weight";
  auto masked = std::make_shared<Tensor>(c.student.parameter(name).clone(host_resource(), name));
  for (size_t i = 0; i < masked->f32().size(); i += 3) masked->f32()[i] = 0;
  c.student.parameters[name] = masked;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  const Model made = distill(c.dense, c.student, source, session(), {.passes = 3, .batch = 20}, {}, report);
  ASSERT_TRUE(report.improved);
  for (size_t i = 0; i < masked->f32().size(); ++i) EXPECT_EQ(made.parameter(name).f32()[i] == 0, i % 3 == 0);
  EXPECT_EQ(made.graph.nodes().size(), c.student.graph.nodes().size());
}

TEST(Distill, TooFewImagesAndTooLittleTimeChangeNothing) {
  const Case c;
  const Model& student = c.student;
  DistillReport report;
  test::ArraySource few(c.pixels, 19);
  EXPECT_EQ(hash(distill(c.dense, student, few, session(), {}, {}, report)), hash(student));
  EXPECT_EQ(report.end, DistillReport::End::kTooFew);
  test::ArraySource source(c.pixels, 200);
  EXPECT_EQ(hash(distill(c.dense, student, source, session(), {.passes = 10, .seconds = 1e-9, .batch = 20}, {}, report)),
            hash(student));
  EXPECT_EQ(report.end, DistillReport::End::kTooSlow);
  EXPECT_FALSE(report.improved);
}

TEST(Distill, ALimitOfTimeTakesFewerPasses) {
  const Case c;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  (void)distill(c.dense, c.student, source, session(), {.passes = 100000, .seconds = 0.5, .batch = 20}, {}, report);
  EXPECT_EQ(report.end, DistillReport::End::kDone);
  EXPECT_LT(report.passes, 100000);
  EXPECT_GE(report.passes, 0.5);
}

TEST(Distill, AnInterruptKeepsTheBestSoFar) {
  const Case c;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  const auto stop = [](int64_t done, int64_t /*total*/) {
    if (done >= 5 * 180) request_interrupt();
  };
  const Model made = distill(c.dense, c.student, source, session(), {.passes = 1000, .batch = 20}, stop, report);
  EXPECT_EQ(report.end, DistillReport::End::kInterrupted);
  EXPECT_NO_THROW(throw_if_interrupted());
  EXPECT_LT(report.passes, 10);
  EXPECT_TRUE(report.improved);
  EXPECT_LT(loss_on(c.dense, made, c.others, 100), loss_on(c.dense, c.student, c.others, 100));
}

TEST(Distill, MemoryDoesNotDependOnTheNumberOfImagesAndIsGivenBack) {
  const Case c;
  const auto peak = [&](int64_t samples) {
    Tracker tracker(host_resource());
    test::ArraySource source(test::tiny_pixels(c.dense.graph.input_shape(), samples, 3), samples);
    DistillReport report;
    {
      const Model made = distill(c.dense, c.student, source, session(&tracker), {.passes = 1, .batch = 20}, {}, report);
      EXPECT_EQ(report.end, DistillReport::End::kDone);
    }
    EXPECT_EQ(tracker.figures().live_bytes, 0U);
    return tracker.figures().peak_bytes - static_cast<size_t>(report.held_out * c.dense.graph.input_shape().elements());
  };
  // but for the pixels of the images held out, which have a limit of their own
  const size_t small = peak(100), large = peak(1500);
  EXPECT_LE(large, small + 512);
}

TEST(Distill, NoFiniteLogitsAreAnError) {
  Case c;
  auto broken = std::make_shared<Tensor>(c.dense.parameter("fc.weight").clone(host_resource(), "w"));
  broken->f32()[0] = std::numeric_limits<float>::quiet_NaN();
  Model dense = c.dense;
  dense.parameters["fc.weight"] = broken;
  test::ArraySource source(c.pixels, 200);
  DistillReport report;
  EXPECT_THROW((void)distill(dense, c.student, source, session(), {.batch = 20}, {}, report), InputError);
  EXPECT_THROW((void)distill(c.dense, dense, source, session(), {.batch = 20}, {}, report), InputError);
  EXPECT_FALSE(source.running());
}

TEST(LogitLossTest, IsItsDefinition) {
  // two images of three classes; centred errors (1,-1,0) and (0,0,0); centred dense (-1,0,1) and (2,-1,-1)
  const std::vector<float> dense = {1, 2, 3, 5, 2, 2}, student = {12, 11, 13, 6, 3, 3};
  LogitLoss loss(3);
  loss.add({student.data(), 3}, {dense.data(), 3});
  loss.add({student.data() + 3, 3}, {dense.data() + 3, 3});
  EXPECT_DOUBLE_EQ(loss.value(), 2.0 / 8);
  std::vector<float> gradient(6);
  logit_gradient(student, dense, 3, logit_size(dense, 3), gradient);
  EXPECT_EQ(gradient, (std::vector<float>{0.25F, -0.25F, 0, 0, 0, 0}));
  // one class: its mean stays
  LogitLoss single(1);
  single.add(std::vector<float>{3}, std::vector<float>{2});
  EXPECT_DOUBLE_EQ(single.value(), 0.25);
}

TEST(LogitLossTest, TheGradientIsTheSlope) {
  Random random(3);
  std::vector<float> dense(20), student(20), gradient(20);
  for (float& v : dense) v = static_cast<float>(random.normal());
  for (float& v : student) v = static_cast<float>(random.normal());
  logit_gradient(student, dense, 5, logit_size(dense, 5), gradient);
  const auto value = [&](const std::vector<float>& s) {
    LogitLoss loss(5);
    loss.add(s, dense);
    return loss.value();
  };
  for (size_t i = 0; i < 20; ++i) {
    std::vector<float> up = student, down = student;
    up[i] += 0x1p-10F, down[i] -= 0x1p-10F;
    const double width = double{up[i]} - double{down[i]};
    EXPECT_NEAR(gradient[i], (value(up) - value(down)) / width, 1e-6);  // the loss is a parabola: only rounding differs
  }
}

TEST(ChangeImage, MirrorsAndMoves) {
  const ImageShape shape{1, 2, 3};
  const std::vector<uint8_t> image = {1, 2, 3, 4, 5, 6};
  const auto changed = [&](const ImageChange& change) {
    std::vector<uint8_t> to(6, 99);
    change_image(image, shape, change, to);
    return to;
  };
  EXPECT_EQ(changed({}), image);
  EXPECT_EQ(changed({.flip = true}), (std::vector<uint8_t>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(changed({.down = 1}), (std::vector<uint8_t>{0, 0, 0, 1, 2, 3}));
  EXPECT_EQ(changed({.right = -1}), (std::vector<uint8_t>{2, 3, 0, 5, 6, 0}));
  EXPECT_EQ(changed({.flip = true, .down = -1, .right = 1}), (std::vector<uint8_t>{0, 6, 5, 0, 0, 0}));
}

TEST(ChangeImage, DrawsEveryChangeAndHonoursTheOptions) {
  const ImageShape shape{3, 16, 32};
  Random random(1), same(1);
  int64_t flips = 0, most_down = 0, most_right = 0;
  for (int i = 0; i < 1000; ++i) {
    const ImageChange c = draw_change(random, shape, true, true);
    flips += c.flip;
    most_down = std::max(most_down, std::abs(c.down)), most_right = std::max(most_right, std::abs(c.right));
    const ImageChange none = draw_change(same, shape, false, false);
    EXPECT_FALSE(none.flip || none.down != 0 || none.right != 0);
  }
  EXPECT_EQ(most_down, 2);
  EXPECT_EQ(most_right, 4);
  EXPECT_NEAR(static_cast<double>(flips), 500, 80);  // five standard deviations
}

}  // namespace
}  // namespace elek::train
