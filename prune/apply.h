// SPDX-License-Identifier: Apache-2.0
// apply(): the only place that cuts a network. The compact network equals the dense one in which the removed channels are set
// to zero after batch norm, sum and ReLU, wherever they are read. masked() builds that dense network for the check.
// Tests: tests/prune/apply_test.cpp, tests/prune/equivalence_test.cpp
#pragma once

#include "elek/batch_source.h"
#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/session.h"
#include "prune/select.h"

namespace elek {

/// bound = kEquivalenceSafety * eps * sqrt(sum over layers of K_l) * max |logit|. K_l: terms per sum of the dense layer; eps =
/// 2^-23 (f32). Why: a sum of K products that is rounded at each step has a relative error of about sqrt(K) eps (errors of
/// random sign: Higham & Mary 2019). The errors of layers are independent, so their squares add. The safety factor covers the
/// second network, cancellation in sums and Winograd's transforms. The bound is probabilistic. The worst case (K instead of
/// sqrt(K), layers multiplied) is so large that real defects would pass. docs/criteria.md derives it.
inline constexpr double kEquivalenceSafety = 16.0;
[[nodiscard]] double equivalence_bound(const Graph& dense, double largest_logit);

}  // namespace elek
