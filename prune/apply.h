// SPDX-License-Identifier: Apache-2.0
// apply(): the only place where a network is cut. The compact network equals the dense one whose removed channels are set to
// zero after batch norm, sum and ReLU, wherever they are read: masked() builds that dense network, to check it.
// Tests: tests/prune/apply_test.cpp
#pragma once

#include "engine/batch_source.h"
#include "engine/graph/model.h"
#include "engine/session.h"
#include "prune/select.h"

namespace elek {

/// The model without the channels (or with zeros for the weights) that the plan removes; tensors it does not change are shared.
/// Validates the whole plan first: ContractError naming group, expected, found leaves nothing half-cut.
[[nodiscard]] Model apply(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// The dense model with channel_map masks that zero the removed channels where they are read. Weight cuts are applied as they
/// are.
[[nodiscard]] Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// Largest |compact - masked| over the logits of the batch, and the bound it must stay under: both networks compute the same
/// sums in another order, so the bound is derived from depth, widths, eps and the largest logit.
struct Equivalence {
  double difference = 0;
  double bound = 0;
  int64_t samples = 0;
};
/// Runs both on one batch of the source. ContractError if the difference passes the bound.
[[nodiscard]] Equivalence check_equivalence(const Model& compact, const Model& masked, BatchSource& source,
                                            SessionOptions options);

}  // namespace elek
