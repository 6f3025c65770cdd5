// SPDX-License-Identifier: Apache-2.0
// DatasetView: a data set that shows another one, as it is. Derive from it and override what differs: the samples (size and
// at()) or the labels. Internal to data/. Tests: tests/data/dataset_test.cpp, tests/data/match_classes_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "elek/data.h"

namespace elek {

class DatasetView : public Dataset {
 public:
  explicit DatasetView(std::shared_ptr<const Dataset> data) : data_(std::move(data)) {}
  [[nodiscard]] int64_t size() const override { return data_->size(); }
  [[nodiscard]] int64_t classes() const override { return data_->classes(); }
  [[nodiscard]] const std::vector<std::string>& labels() const override { return data_->labels(); }
  [[nodiscard]] int32_t label(int64_t index) const override { return data_->label(at(index)); }
  [[nodiscard]] std::string name(int64_t index) const override { return data_->name(at(index)); }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    data_->decode(at(index), shape, pixels);
  }
  [[nodiscard]] std::optional<ImageShape> shape() const override { return data_->shape(); }
  [[nodiscard]] uint64_t content_hash(int64_t index) const override { return data_->content_hash(at(index)); }

 private:
  /// The index in the other data set.
  [[nodiscard]] virtual int64_t at(int64_t index) const { return index; }

  std::shared_ptr<const Dataset> data_;
};

}  // namespace elek
