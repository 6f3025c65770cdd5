// SPDX-License-Identifier: Apache-2.0
#include "cli/cut.h"

#include <filesystem>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

/// Some samples of another data set, in their own order.
class Sample final : public Dataset {
 public:
  Sample(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  [[nodiscard]] int64_t classes() const override { return all_->classes(); }
  [[nodiscard]] const std::vector<std::string>& labels() const override { return all_->labels(); }
  [[nodiscard]] int32_t label(int64_t index) const override { return all_->label(at(index)); }
  [[nodiscard]] std::string name(int64_t index) const override { return all_->name(at(index)); }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    all_->decode(at(index), shape, pixels);
  }
  [[nodiscard]] uint64_t content_hash(int64_t index) const override { return all_->content_hash(at(index)); }

 private:
  [[nodiscard]] int64_t at(int64_t index) const { return indices_.at(static_cast<size_t>(index)); }
  std::shared_ptr<const Dataset> all_;
  std::vector<int64_t> indices_;
};

}  // namespace

std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int64_t> order = random.permutation(all->size());
  if (count > 0 && count < all->size()) order.resize(static_cast<size_t>(count));
  return std::make_shared<Sample>(std::move(all), std::move(order));
}

size_t CutInput::keep_bytes() const {
  return keep_activations.empty() ? 0 : parse_bytes("--keep-activations", keep_activations);
}

CutOptions options_for(CutOptions what, const Dense& dense, Context& context) {
  what.session = context.session_options(dense.input.batch);
  what.seed = context.common().seed;
  what.memory = &context.memory();
  what.keep_activations = dense.input.keep_bytes();
  what.memory_left = [&context] { return context.memory_left(); };
  return what;
}

CutRun run_of(const Dense& dense, const CutOptions& options, CutObserver& observer) {
  return {options, *dense.calibration, dense.evaluation_source.get(), observer, dense.measured.ms_an_image};
}

Dense load_dense(const CutInput& input, Context& context) {
  (void)input.keep_bytes();  // an error in it must not come after the work
  Dense dense;
  dense.path = input.model;
  dense.input = input;
  context.phase("load", [&] {
    dense.model = load_model(input.model, context.memory());
    const ImageShape& shape = dense.model.graph.input_shape();
    if (!input.evaluate.empty()) dense.evaluation = parse_data(input.evaluate, shape);
    const auto calibration =
        shuffled_sample(parse_data(input.calibrate, shape), input.max_batches * input.batch, context.common().seed);
    if (dense.evaluation) dense.overlap = overlap(*calibration, *dense.evaluation);
    dense.calibration = context.loader(calibration, 0, input.calibrate);
    if (dense.evaluation) dense.evaluation_source = context.loader(dense.evaluation, 0, input.evaluate);
  });
  if (dense.overlap > 0) {
    warn(std::to_string(dense.overlap) + " of the " + std::to_string(dense.calibration->samples()) +
         " calibration images are also evaluation images: the accuracies below are too high");
  }
  if (!dense.evaluation) return dense;
  CutNotes notes(context);
  CutOptions options;
  options.session = context.session_options(input.batch);
  dense.measured = measure(dense.model, run_of(dense, options, notes), CutWork::kDense);
  return dense;
}

CutResult cut_to_file(const Dense& dense, const Evidence& evidence, CutOptions options, const std::string& out,
                      Context& context) {
  options.evaluation_hash = to_hex(content_hash(*dense.evaluation));
  CutNotes notes(context);
  CutResult result;
  try {
    result.report = cut_by(dense.model, evidence, dense.measured, run_of(dense, options, notes));
  } catch (const RemovesNothing& error) {
    throw UsageError("the target " + error.target() + " removes nothing from " + dense.path + "; choose a larger share" +
                     (options.weights ? "" : ", or --round-to 1"));
  }
  throw_if_interrupted();
  save_model(result.report.model, out);
  result.dense_file_bytes = std::filesystem::file_size(dense.path);
  result.pruned_file_bytes = std::filesystem::file_size(out);
  return result;
}

}  // namespace elek::cli
