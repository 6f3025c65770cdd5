// SPDX-License-Identifier: Apache-2.0
// apply(): the only place where a network is cut. The compact network equals the dense one whose removed channels are set to
// zero after batch norm, sum and ReLU, wherever they are read: masked() builds that dense network, to check it.
// Tests: tests/prune/apply_test.cpp, tests/prune/equivalence_test.cpp
#pragma once

#include "core/batch_source.h"
#include "engine/session.h"
#include "graph/model.h"
#include "prune/select.h"

namespace elek {

/// The model without the channels (or with zeros for the weights) that the plan removes; tensors it does not change are shared.
/// New tensors come from `resource`, which must outlive the model. Preprocessing, labels and history are the model's own: the
/// caller appends to the history. Validates the whole plan first: ContractError naming group, expected, found leaves nothing
/// half-cut; OutOfMemory likewise.
[[nodiscard]] Model apply(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// The dense model with channel_map masks ("NAME.mask") that zero the removed channels where convolutions, linear layers and
/// channel_maps read them. Between those everything keeps channels apart, so a removed channel reaches nothing else. Weight
/// cuts are applied as they are. Validates as apply().
[[nodiscard]] Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource);

/// Largest |compact - masked| over the logits of the batch, and the bound it must stay under: both networks compute the same
/// sums in another order, so the bound is derived from depth, widths, eps and the largest logit.
struct Equivalence {
  double difference = 0;
  double bound = 0;
  int64_t samples = 0;
};

/// bound = kEquivalenceSafety * eps * sqrt(sum over layers of K_l) * max |logit|,  K_l = the dense layer's terms a sum, eps =
/// 2^-23 (f32). Why: a sum of K products rounded at each step errs by about sqrt(K) eps relative to its size (errors of random
/// sign: Higham & Mary 2019); layers err independently, so their squares add; the safety covers two networks, sums that cancel
/// and Winograd's transforms. Probabilistic, not a worst case: that one (K instead of sqrt(K), layers multiplied) would pass
/// real defects. docs/criteria.md derives it.
inline constexpr double kEquivalenceSafety = 16.0;
[[nodiscard]] double equivalence_bound(const Graph& dense, double largest_logit);

/// Runs both on the first batch of the source, one session after the other. ContractError if the difference passes the bound
/// (a NaN does), or if the source is empty. `options` gives device, batch, threads and memory; probes are ignored.
[[nodiscard]] Equivalence check_equivalence(const Model& compact, const Model& masked, BatchSource& source,
                                            SessionOptions options);

}  // namespace elek
