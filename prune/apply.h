// SPDX-License-Identifier: Apache-2.0
// apply(): the only place where a network is cut. The compact network equals the dense one whose removed channels are set to
// zero after batch norm, sum and ReLU, wherever they are read: masked() builds that dense network, to check it.
// Tests: tests/prune/apply_test.cpp, tests/prune/equivalence_test.cpp
#pragma once

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/session.h"
#include "prune/select.h"

namespace elek {

/// bound = kEquivalenceSafety * eps * sqrt(sum over layers of K_l) * max |logit|,  K_l = the dense layer's terms a sum, eps =
/// 2^-23 (f32). Why: a sum of K products rounded at each step errs by about sqrt(K) eps relative to its size (errors of random
/// sign: Higham & Mary 2019); layers err independently, so their squares add; the safety covers two networks, sums that cancel
/// and Winograd's transforms. Probabilistic, not a worst case: that one (K instead of sqrt(K), layers multiplied) would pass
/// real defects. docs/criteria.md derives it.
inline constexpr double kEquivalenceSafety = 16.0;
[[nodiscard]] double equivalence_bound(const Graph& dense, double largest_logit);

}  // namespace elek
