// SPDX-License-Identifier: Apache-2.0
// Loader: a BatchSource over a Dataset. Threads decode ahead into the session's slots, in a fixed order.
// Tests: tests/data/loader_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/batch_source.h"
#include "data/dataset.h"

namespace elek {

struct LoaderOptions {
  std::optional<uint64_t> shuffle_seed = std::nullopt;  // none = the data's order
  int64_t limit = 0;                                    // largest number of samples, after shuffling; 0 = all
  int threads = 1;
  std::string description = {};  // DATA as given
};
[[nodiscard]] std::unique_ptr<BatchSource> make_loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);

}  // namespace elek
