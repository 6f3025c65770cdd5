// SPDX-License-Identifier: Apache-2.0
// Cross-entropy against its formula, and its gradient against slopes in double; training with labels.
#include "train/label_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "elek/train.h"
#include "tests/support/models.h"

namespace elek::train {
namespace {

TEST(LabelLoss, IsItsFormulaAndDoesNotOverflow) {
  const std::vector<float> logits = {1, 2, 3, 1000, 0, -1000};
  const std::vector<int32_t> labels = {0, 1};
  const double first = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)) - 1;
  EXPECT_NEAR(label_loss_sum(logits, labels), first + 1000, 1e-9);
}

TEST(LabelLoss, TheGradientIsTheSlopeOfTheMean) {
  std::vector<float> logits = {0.5F, -1, 2, 0.25F, 3, -2};
  const std::vector<int32_t> labels = {2, 0};
  std::vector<float> gradient(6, 1.0F);  // is added to
  add_label_gradient(logits, labels, 0.5, gradient);
  for (size_t i = 0; i < logits.size(); ++i) {
    std::vector<float> up = logits, down = logits;
    up[i] += 0x1p-8F, down[i] -= 0x1p-8F;
    const double slope = (label_loss_sum(up, labels) - label_loss_sum(down, labels)) / 2 / 0x1p-7;
    EXPECT_NEAR(gradient[i], 1 + 0.5 * slope, 1e-5);  // the curvature within the step, and rounding to f32
  }
}

/// Images of one grey each; the label says which half of the greys.
class Greys final : public BatchSource {
 public:
  explicit Greys(int32_t offset) : offset_(offset) {}
  [[nodiscard]] int64_t samples() const override { return 200; }
  [[nodiscard]] int64_t classes() const override { return 10; }
  [[nodiscard]] std::string description() const override { return "greys"; }
  void start(std::span<Slot> slots) override { slots_ = slots, done_ = 0, turn_ = 0; }
  [[nodiscard]] const Slot* next() override {
    if (done_ == samples()) return nullptr;
    Slot& slot = slots_[turn_++ % slots_.size()];
    slot.count = std::min(slot.capacity, samples() - done_);
    const int64_t each = slot.shape.elements();
    for (int64_t i = 0; i < slot.count; ++i) {
      const auto grey = static_cast<uint8_t>((done_ + i) * 97 % 256);
      std::fill_n(slot.pixels + i * each, each, grey);
      slot.labels[i] = offset_ + (grey < 128 ? 0 : 1);
    }
    done_ += slot.count;
    return &slot;
  }
  void stop() noexcept override { slots_ = {}; }

 private:
  int32_t offset_;
  std::span<Slot> slots_;
  int64_t done_ = 0;
  size_t turn_ = 0;
};

TEST(LabelLoss, TrainingWithLabelsAloneLearnsThem) {
  const Model model = test::tiny_resnet();
  Greys greys(0);
  DistillReport report;
  SessionOptions session;
  session.threads = 2;
  (void)distill(model, model, greys, session, {.passes = 20, .batch = 20, .labels = 1}, {}, report);
  EXPECT_TRUE(report.improved);
  EXPECT_LT(report.loss_after, 0.5);  // a coin has 0.69
}

TEST(LabelLoss, LabelsThatTheNetworkDoesNotKnowAreAnError) {
  const Model model = test::tiny_resnet();
  DistillReport report;
  for (const int32_t offset : {-5, 9}) {
    Greys greys(offset);
    EXPECT_THROW((void)distill(model, model, greys, {}, {.batch = 20, .labels = 0.5}, {}, report), InputError);
    (void)distill(model, model, greys, {}, {.passes = 1, .batch = 20}, {}, report);  // without labels they do not matter
  }
}

}  // namespace
}  // namespace elek::train
