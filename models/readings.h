// SPDX-License-Identifier: Apache-2.0
// The one place that answers what the tensors of a weights file do not show: from the caller's options, else from the files
// beside it, else the usual answer. Every answer is written down with its source (models/import.h: Taken), so none is silent.
// To add a question, add it to Unseen, to Reading (models/network_builder.h) and here. Internal to models/. Tests:
// tests/models/import_test.cpp
#pragma once

#include <string>
#include <vector>

#include "models/config_beside.h"
#include "models/import.h"
#include "models/network_builder.h"
#include "models/structure.h"

namespace elek::detail {

struct Answers {
  Reading reading;
  Preprocessing preprocessing;
  std::vector<Taken> taken;
};

/// UsageError if strides are given for another number of stages.
[[nodiscard]] Answers answer(const Structure& structure, const WeightsOptions& options, const Beside& beside);

/// A 7x7 window and a deep stem belong to ImageNet's networks: stride 2 and a max pool. A 3x3 window belongs to CIFAR's.
[[nodiscard]] Stem stem_kind(const Structure& structure);

/// "mean 0.5,0.5, std 0.25,0.25"
[[nodiscard]] std::string text_of(const Preprocessing& preprocessing);

}  // namespace elek::detail
