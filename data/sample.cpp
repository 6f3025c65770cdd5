// SPDX-License-Identifier: Apache-2.0
#include "data/sample.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "data/view.h"

namespace elek {
namespace {

class Sample final : public DatasetView {
 public:
  Sample(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices)
      : DatasetView(std::move(all)), indices_(std::move(indices)) {}
  [[nodiscard]] int64_t size() const override { return std::ssize(indices_); }

 private:
  [[nodiscard]] int64_t at(int64_t index) const override { return indices_.at(static_cast<size_t>(index)); }
  std::vector<int64_t> indices_;
};

class Labelled final : public DatasetView {
 public:
  Labelled(std::shared_ptr<const Dataset> all, std::vector<int32_t> given, int64_t classes)
      : DatasetView(std::move(all)), given_(std::move(given)), classes_(classes) {}
  [[nodiscard]] int64_t classes() const override { return classes_; }
  [[nodiscard]] const std::vector<std::string>& labels() const override { return names_; }
  [[nodiscard]] int32_t label(int64_t index) const override { return given_.at(static_cast<size_t>(index)); }

 private:
  const std::vector<int32_t> given_;
  const int64_t classes_;
  const std::vector<std::string> names_;
};

}  // namespace

std::shared_ptr<const Dataset> sample_of(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices) {
  return std::make_shared<Sample>(std::move(all), std::move(indices));
}

std::shared_ptr<const Dataset> first_samples(std::shared_ptr<const Dataset> all, int64_t count) {
  if (count == 0 || count >= all->size()) return all;
  std::vector<int64_t> first(static_cast<size_t>(count));
  std::iota(first.begin(), first.end(), int64_t{0});
  return sample_of(std::move(all), std::move(first));
}

std::shared_ptr<const Dataset> shuffled_sample(std::shared_ptr<const Dataset> all, int64_t count, uint64_t seed) {
  return shuffled_part(std::move(all), 0, count, seed);
}

std::shared_ptr<const Dataset> shuffled_part(std::shared_ptr<const Dataset> all, int64_t first, int64_t count, uint64_t seed) {
  std::vector<int64_t> order = Random(seed).permutation(all->size());
  order.erase(order.begin(), order.begin() + std::min(first, all->size()));
  if (count > 0 && count < std::ssize(order)) order.resize(static_cast<size_t>(count));
  return sample_of(std::move(all), std::move(order));
}

std::shared_ptr<const Dataset> with_labels(std::shared_ptr<const Dataset> all, std::vector<int32_t> labels, int64_t classes) {
  if (std::ssize(labels) != all->size()) throw ContractError("one label per sample is needed");
  return std::make_shared<Labelled>(std::move(all), std::move(labels), classes);
}

int64_t different_samples(const Dataset& data) {
  std::unordered_set<uint64_t> contents;
  for (int64_t i = 0; i < data.size(); ++i) {
    throw_if_interrupted();
    contents.insert(data.content_hash(i));
  }
  return std::ssize(contents);
}

}  // namespace elek
