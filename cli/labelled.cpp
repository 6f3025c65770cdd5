// SPDX-License-Identifier: Apache-2.0
#include "cli/labelled.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "core/runtime.h"
#include "data/match_classes.h"

namespace elek::cli {
namespace {

class Sample final : public Dataset {
 public:
  Sample(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}
  [[nodiscard]] int64_t size() const override { return std::ssize(indices_); }
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

void warn_of_copies(const Dataset& data, const std::string& where) {
  std::set<uint64_t> contents;
  for (int64_t i = 0; i < data.size(); ++i) {
    throw_if_interrupted();
    contents.insert(data.content_hash(i));
  }
  if (2 * std::ssize(contents) > data.size()) return;
  warn(where + ": of the " + std::to_string(data.size()) + " calibration images only " + std::to_string(contents.size()) +
       " are different; choice and repair are good only for images like these");
}

}  // namespace

std::shared_ptr<const Dataset> sample_of(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices) {
  return std::make_shared<Sample>(std::move(all), std::move(indices));
}

std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed) {
  std::vector<int64_t> order = Random(seed).permutation(all->size());
  if (count > 0 && count < all->size()) order.resize(static_cast<size_t>(count));
  return sample_of(std::move(all), std::move(order));
}

std::shared_ptr<const Dataset> labelled_data(const std::string& word, const Model& model, const Output& output, int64_t limit) {
  const int64_t classes = model.graph.node(model.graph.output()).shape.elements();
  std::shared_ptr<const Dataset> data = parse_data(word, model.graph.input_shape());
  std::shared_ptr<const Dataset> labelled = labelled_for(data, classes, model.labels, word);
  if (labelled != data) output.note("note: " + word + ": its classes are matched to the network's by their names");
  if (limit > 0 && limit < labelled->size()) {
    std::vector<int64_t> first(static_cast<size_t>(limit));
    std::iota(first.begin(), first.end(), int64_t{0});
    labelled = sample_of(std::move(labelled), std::move(first));
  }
  detail::warn_of_few_classes(*labelled, labelled->classes(), word);
  return labelled;
}

std::shared_ptr<const Dataset> calibration_data(const std::string& word, const ImageShape& shape, int64_t count,
                                                uint64_t seed) {
  std::shared_ptr<const Dataset> all = parse_data(word, shape);
  detail::warn_of_few_classes(*all, all->classes(), word);
  std::shared_ptr<const Dataset> sample = shuffled_sample(std::move(all), count, seed);
  warn_of_copies(*sample, word);
  return sample;
}

}  // namespace elek::cli
