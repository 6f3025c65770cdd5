// SPDX-License-Identifier: Apache-2.0
// The training loop of elek/train.h. Tests: tests/train/distill_test.cpp
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "core/threads.h"
#include "elek/train.h"
#include "graph/integer_values.h"
#include "train/adam.h"
#include "train/batch_part.h"
#include "train/change_image.h"
#include "train/label_loss.h"
#include "train/logit_loss.h"
#include "train/trainer.h"

namespace elek {
namespace {

using namespace train;  // NOLINT(google-build-using-namespace): the parts of this room

constexpr int64_t kHeldOutEach = 10;                    // one image of so many is held out,
constexpr int64_t kHeldOutBytes = int64_t{3} << 19;     // as long as their pixels need no more than this, or one batch
constexpr double kWarmUp = 0.1;                         // share of the steps
constexpr int kTimedSteps = 3;                          // steps that are timed before the number of steps is fixed
constexpr double kFirstStepSlower = 3;                  // at most, than the later steps
constexpr double kShortestRun = 0.5;                    // passes; a shorter run is not worth its time
constexpr double kDivergedBy = 2, kDivergedFrom = 0.1;  // a held-out loss above 2 * that of the start + 0.1 ends a try: large
                                                        // steps raise a small loss at first
constexpr int kTries = 3;
constexpr int kPasses = 10, kHardPasses = 80;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

MemoryResource& host_memory(const SessionOptions& options) {
  return options.memory != nullptr && is_host(options.memory->device()) ? *options.memory : host_resource();
}

SessionOptions dense_options(SessionOptions options, int64_t batch) {
  options.batch = batch;
  options.micro_batch = 0;
  options.probes = {};
  options.batch_norm = BatchNorm::kFold;
  options.batch_moments = false;
  return options;
}

class Distillation {
 public:
  Distillation(const Model& dense, const Model& student, BatchSource& images, const SessionOptions& session,
               const DistillOptions& options, DistillReport& report)
      : options_(options),
        images_(images),
        report_(report),
        threads_(session.threads > 0 ? session.threads : default_threads()),
        memory_(host_memory(session)),
        shape_(dense.graph.input_shape()),
        each_(at(shape_.elements())),
        part_(part_that_fits(student.graph, options.batch, threads_, options.arena_bytes)),
        trainer_(student, {.batch = part_, .threads = threads_, .memory = &memory_}),
        slots_(3 * at(options.batch) * each_, memory_, {"images for distillation", Use::kStaging}),
        start_(trainer_.parameter_slab().size_bytes(), memory_, {"parameters at the start", Use::kWeights}),
        best_(trainer_.parameter_slab().size_bytes(), memory_, {"best parameters", Use::kWeights}),
        dense_logits_(at(options.batch * trainer_.classes())),
        gradient_(at(part_ * trainer_.classes())),
        labels_(3 * at(options.batch)) {
    if (options.labels < 1) dense_.emplace(dense, dense_options(session, options.batch));
    save(start_);
    save(best_);
    report_.trainer_bytes = 6 * best_.bytes() + trainer_.plan().arena_bytes;
  }

  void run(const Progress& progress) {
    progress_ = &progress;
    hold_out();
    report_.held_out = held_count_;
    best_loss_ = report_.loss_before = report_.loss_after = held_out_loss();
    if (!std::isfinite(best_loss_))
      throw InputError("distillation: the cut network's logits are not finite on '" + images_.description() + "'");
    begun_ = Clock::now();
    double step = options_.step;
    for (int tried = 0; tried < kTries; ++tried, step /= 3) {
      report_.step = step;
      if (train(step)) break;
      restore(start_);
      if (tried + 1 == kTries) report_.end = DistillReport::End::kDiverged;
    }
    finish();
  }
  void finish() {
    restore(best_);
    report_.loss_after = best_loss_;
    report_.improved = best_loss_ < report_.loss_before;
  }
  [[nodiscard]] Model model() const { return trainer_.model(memory_); }

 private:
  /// Two slots for the source, and one in which the images of a step are put together.
  [[nodiscard]] Slot slot(size_t i) {
    Slot made;
    made.pixels = static_cast<uint8_t*>(slots_.data()) + i * at(options_.batch) * each_;
    made.labels = labels_.data() + i * at(options_.batch);
    made.capacity = options_.batch;
    made.shape = shape_;
    return made;
  }
  void save(Buffer& to) { std::memcpy(to.data(), trainer_.parameter_slab().data(), to.bytes()); }
  void restore(const Buffer& from) { std::memcpy(trainer_.parameter_slab().data(), from.data(), from.bytes()); }
  [[nodiscard]] bool is_held_out(int64_t index) const {
    return index % kHeldOutEach == kHeldOutEach - 1 && index / kHeldOutEach < held_count_;
  }

  /// One pass: f(index, pixels, label) for each image. Ends early if f returns false.
  template <typename F>
  void for_each_image(const F& f) {
    std::array<Slot, 2> lent{slot(0), slot(1)};
    std::fill_n(labels_.begin(), 2 * options_.batch, -1);  // a source without labels leaves them
    const SourcePass pass(images_, lent);
    int64_t index = 0;
    while (const Slot* filled = images_.next()) {
      for (int64_t i = 0; i < filled->count; ++i, ++index) {
        if (!f(index, filled->pixels + at(i) * each_, label_of(filled->labels[i], index))) return;
      }
    }
  }

  [[nodiscard]] int32_t label_of(int32_t label, int64_t index) const {
    return options_.labels > 0 ? checked_label(label, trainer_.classes(), index, images_.description()) : label;
  }

  /// Copies the images to hold out, and computes the dense network's logits on them.
  void hold_out() {
    const int64_t room = std::max<int64_t>(options_.batch, kHeldOutBytes / static_cast<int64_t>(each_));
    held_count_ = std::min(images_.samples() / kHeldOutEach, room);
    held_ = Buffer(at(held_count_) * each_, memory_, {"images held out", Use::kStaging});
    int64_t found = 0;
    held_labels_.resize(at(held_count_));
    for_each_image([&](int64_t index, const uint8_t* pixels, int32_t label) {
      if (is_held_out(index)) {
        held_labels_[at(found)] = label;
        std::memcpy(held_pixels(found++), pixels, each_);
      }
      return found < held_count_;
    });
    ELEK_CHECK(found == held_count_, "distillation: the source gave " + std::to_string(found) + " of the images to hold out");
    if (!dense_) return;
    held_logits_.reserve(at(held_count_ * trainer_.classes()));
    for (int64_t first = 0; first < held_count_; first += options_.batch) {
      Slot held = slot(2);
      held.pixels = held_pixels(first);
      held.count = std::min(options_.batch, held_count_ - first);
      const std::span<const float> logits = dense_->run(held);
      check_finite(logits);
      held_logits_.insert(held_logits_.end(), logits.begin(), logits.end());
    }
  }
  [[nodiscard]] uint8_t* held_pixels(int64_t index) const { return static_cast<uint8_t*>(held_.data()) + at(index) * each_; }
  void check_finite(std::span<const float> logits) const {
    if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) {
      throw InputError("distillation: a logit of the dense network is NaN or infinite on '" + images_.description() + "'");
    }
  }

  [[nodiscard]] double held_out_loss() {
    LogitLoss logits(trainer_.classes());
    double labels = 0;
    for (int64_t first = 0; first < held_count_; first += part_) {
      const int64_t count = std::min(part_, held_count_ - first);
      const std::span<const float> student = trainer_.forward({held_pixels(first), at(count) * each_}, count);
      if (dense_) logits.add(student, {held_logits_.data() + first * trainer_.classes(), student.size()});
      if (options_.labels > 0) labels += label_loss_sum(student, {held_labels_.data() + first, at(count)});
    }
    const double of_logits = dense_ ? (1 - options_.labels) * logits.value() : 0;
    return of_logits + options_.labels * labels / static_cast<double>(held_count_);
  }

  /// True if it ran to its end; false if it diverged. The best parameters are kept in best_.
  bool train(double step) {
    Adam adam(trainer_, step, threads_, memory_);
    Random random(options_.seed);
    const double images_a_pass = static_cast<double>(images_.samples() - held_count_);
    total_steps_ = static_cast<int64_t>(passes() * images_a_pass / static_cast<double>(options_.batch));
    total_steps_ = std::max<int64_t>(total_steps_, 1);
    int64_t taken = 0;
    Slot step_images = slot(2);
    const Clock::time_point start = Clock::now();
    while (taken < total_steps_) {
      for_each_image([&](int64_t index, const uint8_t* pixels, int32_t label) {
        if (is_held_out(index)) return true;
        step_images.labels[step_images.count] = label;
        change_image({pixels, each_}, shape_, draw_change(random, shape_, options_.flip, options_.shift),
                     {step_images.pixels + at(step_images.count) * each_, each_});
        if (++step_images.count < options_.batch) return true;
        train_step(step_images, adam, taken);
        step_images.count = 0;
        if (++taken <= kTimedSteps && !fits(seconds_since(start), taken, images_a_pass)) return false;
        if (*progress_) (*progress_)(std::min(taken, total_steps_) * options_.batch, total_steps_ * options_.batch);
        return taken < total_steps_;
      });
      report_.passes = static_cast<double>(taken * options_.batch) / images_a_pass;
      if (report_.end == DistillReport::End::kTooSlow) return true;
      const double now = held_out_loss();
      if (!(now <= kDivergedBy * report_.loss_before + kDivergedFrom)) return false;  // also NaN
      if (now < best_loss_) {
        best_loss_ = now;
        save(best_);
      }
    }
    return true;
  }

  [[nodiscard]] int passes() const {
    if (options_.passes > 0) return options_.passes;
    return report_.loss_before > kHardLoss ? kHardPasses : kPasses;
  }

  /// After a few steps their time is known: fixes the number of steps by it. False if too few fit into the limit of time; after
  /// the first step, which is slower than the others, only if that is beyond doubt.
  bool fits(double seconds, int64_t taken, double images_a_pass) {
    if (options_.seconds <= 0 || (taken > 1 && taken < kTimedSteps)) return true;
    const double left = std::max(0.0, options_.seconds - seconds_since(begun_));
    const double doubt = taken < kTimedSteps ? kFirstStepSlower : 1;
    const double steps = static_cast<double>(taken) + doubt * left * static_cast<double>(taken) / seconds;
    const double least = std::max<double>(kTimedSteps, kShortestRun * images_a_pass / static_cast<double>(options_.batch));
    if (steps < std::min(least, static_cast<double>(total_steps_))) {
      report_.end = DistillReport::End::kTooSlow;
      return false;
    }
    if (taken == kTimedSteps) total_steps_ = std::min(total_steps_, static_cast<int64_t>(steps));
    return true;
  }

  /// Forward and back for the images from `first` on. `size`: of the dense logits of the whole batch.
  void run_part(const Slot& images, int64_t first, double size) {
    const int64_t count = std::min(part_, images.count - first);
    const std::span<const float> student = trainer_.forward({images.pixels + at(first) * each_, at(count) * each_}, count);
    const std::span<float> gradient{gradient_.data(), student.size()};
    std::ranges::fill(gradient, 0.0F);
    if (dense_) {
      logit_gradient(student, {dense_logits_.data() + first * trainer_.classes(), student.size()}, trainer_.classes(), size,
                     gradient);
      for (float& g : gradient) g *= static_cast<float>(1 - options_.labels);
    }
    if (options_.labels > 0) {
      const double share = options_.labels * static_cast<double>(count) / static_cast<double>(images.count);
      add_label_gradient(student, {images.labels + first, at(count)}, share, gradient);
    }
    trainer_.backward(gradient, first > 0);
  }

  void train_step(const Slot& images, Adam& adam, int64_t taken) {
    throw_if_interrupted();
    if (dense_) {
      const std::span<const float> dense = dense_->run(images);
      check_finite(dense);
      std::ranges::copy(dense, dense_logits_.begin());
    }
    const double size =
        dense_ ? logit_size({dense_logits_.data(), at(images.count * trainer_.classes())}, trainer_.classes()) : 0;
    for (int64_t first = 0; first < images.count; first += part_) run_part(images, first, size);
    const double done = static_cast<double>(taken) / static_cast<double>(total_steps_);
    constexpr double kPi = 3.14159265358979323846;
    adam.step(done < kWarmUp ? (done + 1 / static_cast<double>(total_steps_)) / kWarmUp
                             : 0.5 * (1 + std::cos(kPi * (done - kWarmUp) / (1 - kWarmUp))));
  }

  const DistillOptions& options_;
  BatchSource& images_;
  DistillReport& report_;
  const int threads_;
  MemoryResource& memory_;
  const ImageShape shape_;
  const size_t each_;             // bytes of an image
  std::optional<Session> dense_;  // none if only labels count
  const int64_t part_;            // images that run forward and back together
  Trainer trainer_;
  Buffer slots_, start_, best_, held_;
  std::vector<float> dense_logits_, gradient_, held_logits_;
  std::vector<int32_t> labels_, held_labels_;
  int64_t held_count_ = 0;
  int64_t total_steps_ = 0;
  double best_loss_ = 0;
  Clock::time_point begun_;
  const Progress* progress_ = nullptr;
};

/// Gives the source its order back.
class Reordered {
 public:
  Reordered(BatchSource& source, uint64_t seed) : source_(source) { (void)source_.reorder(seed); }
  Reordered(const Reordered&) = delete;
  Reordered& operator=(const Reordered&) = delete;
  ~Reordered() { (void)source_.reorder(std::nullopt); }

 private:
  BatchSource& source_;
};

}  // namespace

Model distill(const Model& dense, const Model& student, BatchSource& images, const SessionOptions& session,
              const DistillOptions& options, const Progress& progress, DistillReport& report) {
  report = {};
  require_f32_weights(student, "distillation");
  ELEK_CHECK(options.passes >= 0 && options.batch >= 1 && options.step > 0 && options.labels >= 0 && options.labels <= 1,
             "distillation: passes, batch, step or share of labels out of range");
  const Clock::time_point start = Clock::now();
  if (images.samples() < kLeastImages) {
    report.end = DistillReport::End::kTooFew;
    return student;
  }
  DistillOptions fitted = options;
  fitted.batch = std::min(options.batch, images.samples() - images.samples() / kHeldOutEach);
  const Reordered order(images, options.seed);
  Distillation work(dense, student, images, session, fitted, report);
  try {
    work.run(progress);
  } catch (const Interrupted&) {
    clear_interrupt();  // the caller goes on with the best network so far
    report.end = DistillReport::End::kInterrupted;
    work.finish();
  }
  report.seconds = seconds_since(start);
  return report.improved ? work.model() : student;
}

}  // namespace elek
