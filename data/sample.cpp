// SPDX-License-Identifier: Apache-2.0
#include "data/sample.h"

#include <numeric>
#include <unordered_set>
#include <utility>

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
  std::vector<int64_t> order = Random(seed).permutation(all->size());
  if (count > 0 && count < all->size()) order.resize(static_cast<size_t>(count));
  return sample_of(std::move(all), std::move(order));
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
