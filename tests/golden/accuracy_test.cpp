// SPDX-License-Identifier: Apache-2.0
// The loops over data: evaluate()'s hits, its loss compared with a computation in double, refused labels, limits, progress, and
// that a source is stopped on every exit. (The shipped network's accuracy: fashion_accuracy_test.cpp.)
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/session.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

/// Samples from memory, filled slot after slot when asked.
class ArraySource final : public BatchSource {
 public:
  ArraySource(std::vector<uint8_t> pixels, std::vector<int32_t> labels)
      : pixels_(std::move(pixels)), labels_(std::move(labels)) {}
  [[nodiscard]] int64_t samples() const override { return static_cast<int64_t>(labels_.size()); }
  [[nodiscard]] int64_t classes() const override { return 0; }
  [[nodiscard]] std::string description() const override { return "array"; }
  void start(std::span<Slot> slots) override {
    slots_ = slots;
    at_ = 0;
    running = true;
  }
  [[nodiscard]] const Slot* next() override {
    if (at_ == labels_.size()) return nullptr;
    Slot& slot = slots_[turn_++ % slots_.size()];
    const size_t each = pixels_.size() / labels_.size();
    slot.count = std::min(slot.capacity, static_cast<int64_t>(labels_.size() - at_));
    std::memcpy(slot.pixels, pixels_.data() + at_ * each, static_cast<size_t>(slot.count) * each);
    std::copy_n(labels_.begin() + static_cast<std::ptrdiff_t>(at_), slot.count, slot.labels);
    at_ += static_cast<size_t>(slot.count);
    return &slot;
  }
  void stop() noexcept override { running = false; }
  bool running = false;

 private:
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
  std::span<Slot> slots_;
  size_t at_ = 0;
  size_t turn_ = 0;
};

/// A network whose logits are chosen: each channel's mean pixel (0 … 255) through a linear layer of given weights.
Model linear_model(int64_t classes, const std::vector<float>& weights, const std::vector<float>& bias) {
  Model model;
  Graph& g = model.graph;
  const ValueId x = g.add("input", InputAttrs{{3, 2, 2}}, {});
  const ValueId pool = g.add("avgpool", GlobalAvgPoolAttrs{}, {x});
  const ValueId flat = g.add("flatten", FlattenAttrs{}, {pool});
  g.add("fc", LinearAttrs{.out_features = classes, .bias = true}, {flat});
  model.parameters["fc.weight"] = test::tensor_of(weights, Shape{classes, 3});
  model.parameters["fc.bias"] = test::tensor_of(bias, Shape{classes});
  model.preprocessing = {{0, 0, 0}, {1.0F / 255, 1.0F / 255, 1.0F / 255}};  // the pixel's value itself
  return model;
}

Session session_of(const Model& model, int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  return Session(model, options);
}

TEST(Evaluate, CountsHitsAndLossAsDefined) {
  // Seven classes; class k's logit is w_k * red. Red 1 gives (0, 3, 3, 2, 1, -1, -2), red 0 all equal.
  const std::vector<float> reds = {0, 3, 3, 2, 1, -1, -2};
  std::vector<float> weights;
  for (const float w : reds) weights.insert(weights.end(), {w, 0.0F, 0.0F});
  const Model model = linear_model(7, weights, std::vector<float>(7, 0.0F));
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  const auto sample = [&](uint8_t red, int32_t label) {
    for (int p = 0; p < 4; ++p) pixels.insert(pixels.end(), {red, 7, 9});
    labels.push_back(label);
  };
  sample(1, 1);  // ties go to the lower class: a hit
  sample(1, 2);  // and the higher one misses, but is in the best five
  sample(1, 0);  // fifth: in the best five
  sample(1, 5);  // sixth: not
  sample(0, 0);  // all equal: the first class is the answer
  sample(0, 4);  // fifth of equals
  sample(0, 5);  // sixth of equals
  double loss = 0;
  double total = 0;
  for (const float w : reds) total += std::exp(static_cast<double>(w));
  for (const int label : {1, 2, 0, 5}) loss += std::log(total) - static_cast<double>(reds[static_cast<size_t>(label)]);
  loss += 3 * std::log(7.0);
  Session session = session_of(model, 3);
  ArraySource source(pixels, labels);
  std::vector<uint8_t> hits{9};  // what it held before goes
  const Accuracy got = evaluate(session, source, {}, &hits);
  EXPECT_EQ(hits, (std::vector<uint8_t>{1, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(got.samples, 7);
  EXPECT_DOUBLE_EQ(got.top1, 2.0 / 7);
  EXPECT_DOUBLE_EQ(got.top5, 5.0 / 7);
  EXPECT_NEAR(got.loss, loss / 7, 1e-6);
  EXPECT_FALSE(source.running);
}

TEST(Evaluate, NanNeverWins) {
  const Model model = linear_model(2, std::vector<float>(6, 0.0F), {std::numeric_limits<float>::quiet_NaN(), -5.0F});
  Session session = session_of(model, 2);
  ArraySource source(std::vector<uint8_t>(24, 1), {0, 1});
  const Accuracy got = evaluate(session, source);
  EXPECT_DOUBLE_EQ(got.top1, 0.5);  // class 1, the only number, wins
  EXPECT_TRUE(std::isnan(got.loss));
}

TEST(Evaluate, RefusesLabelsOutsideTheNetwork) {
  const Model model = linear_model(4, std::vector<float>(12, 0.5F), std::vector<float>(4, 0.0F));
  Session session = session_of(model, 2);
  for (const int32_t label : {-1, 4}) {
    ArraySource source(std::vector<uint8_t>(36, 1), {0, 3, label});
    EXPECT_THROW((void)evaluate(session, source), InputError) << label;
    EXPECT_FALSE(source.running) << "the source was left running";
  }
}

TEST(ForEachBatch, StopsAtTheLimitAndReports) {
  const Model model = linear_model(4, std::vector<float>(12, 0.5F), std::vector<float>(4, 0.0F));
  Session session = session_of(model, 2);
  ArraySource source(std::vector<uint8_t>(7 * 12, 1), std::vector<int32_t>(7, 0));
  std::vector<std::pair<int64_t, int64_t>> reports;
  const Progress progress = [&](int64_t done, int64_t total) { reports.emplace_back(done, total); };
  std::vector<int64_t> counts;
  const auto visit = [&](const Slot& slot, std::span<const float> logits) {
    EXPECT_TRUE(source.running);
    EXPECT_EQ(static_cast<int64_t>(logits.size()), slot.count * 4);
    counts.push_back(slot.count);
  };
  EXPECT_EQ(for_each_batch(session, source, 0, progress, visit), 7);
  EXPECT_EQ(counts, (std::vector<int64_t>{2, 2, 2, 1}));
  EXPECT_EQ(reports, (std::vector<std::pair<int64_t, int64_t>>{{2, 7}, {4, 7}, {6, 7}, {7, 7}}));
  reports.clear();
  EXPECT_EQ(for_each_batch(session, source, 2, progress), 4);
  EXPECT_EQ(reports, (std::vector<std::pair<int64_t, int64_t>>{{2, 4}, {4, 4}}));
  EXPECT_FALSE(source.running);
  request_interrupt();
  EXPECT_THROW((void)for_each_batch(session, source, 0, {}), Interrupted);
  clear_interrupt();
  EXPECT_FALSE(source.running);
}

}  // namespace
}  // namespace elek
