// SPDX-License-Identifier: Apache-2.0
// taylor and fisher: how much the loss changes if a channel is removed, estimated from gradients. taylor uses the gradient of a
// batch's mean loss, fisher that of each image's loss. Scores are costs that add up in the order of removal, in one unit for
// all groups.
// Tests: tests/prune/gradient_importance_test.cpp
#include <utility>

#include "core/error.h"
#include "prune/criteria/list.h"
#include "prune/gradient_importance.h"

namespace elek::criteria {
namespace {

// Work of forward and backward pass and of the weights' gradients, in passes of the network.
constexpr double kGradientPasses = 3;

train::GradientOptions gradient_options(const MeasureOptions& how, bool each_image) {
  const SessionOptions& session = how.session;
  train::GradientOptions options;
  options.batch = session.batch;
  options.each_image = each_image;
  options.labels = how.use_labels ? train::Labels::kGiven : train::Labels::kPredicted;
  options.arena_bytes = how.arena_bytes;
  options.threads = session.threads;
  if (session.memory != nullptr && is_host(session.memory->device())) options.memory = session.memory;
  return options;
}

class GradientCriterion final : public Criterion {
 public:
  GradientCriterion(Traits traits, bool each_image) : Criterion(std::move(traits)), each_image_(each_image) {}

  [[nodiscard]] Scores scores(const Model& /*model*/, const std::vector<Group>& groups, const Evidence& evidence,
                              uint64_t /*seed*/) const override {
    return evidence.costs_of(*this, groups);
  }

  [[nodiscard]] Forecast forecast(const Graph& graph, const std::vector<Group>& /*groups*/, int64_t /*samples*/,
                                  const MeasureOptions& how) const override {
    const train::GradientMemory memory = train::gradient_memory(graph, gradient_options(how, each_image_));
    Forecast forecast;
    forecast.criterion = name();
    forecast.gradient_bytes = memory.bytes;
    forecast.gradient_images = memory.part;
    forecast.dense_passes = forecast.least_dense_passes = kGradientPasses;
    return forecast;
  }

  [[nodiscard]] Scores measure(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                               const MeasureOptions& how, const Progress& progress) const override {
    return costs_in_order(gradient_importance(model, groups, images, gradient_options(how, each_image_), name(), progress));
  }

 private:
  bool each_image_;
};

Criterion::Traits traits_of(std::string name, std::string about) {
  return {.name = std::move(name),
          .about = std::move(about),
          .family = "gradient",
          .needs = Criterion::Needs::kImages,
          .scope = Scope::kGlobal,
          .costs_compare = true,
          .raw_convolutions = false,
          .weighs_consumers = true,
          .reads_labels = true};
}

}  // namespace

const Criterion& taylor() {
  static const GradientCriterion criterion(
      traits_of("taylor", "first-order change of the loss, squared, by the gradients of batches"), false);
  return criterion;
}

const Criterion& fisher() {
  static const GradientCriterion criterion(traits_of("fisher", "the same by the gradients of single images; slower"), true);
  return criterion;
}

}  // namespace elek::criteria
