// SPDX-License-Identifier: Apache-2.0
// The results of a sweep (prune/sweep.h) as table, JSON, CSV and plot. `dense` is the network that was swept.
// Tests: tests/cli/sweep_test.cpp
#pragma once

#include <string>

#include "cli/cut.h"
#include "lab/plot.h"
#include "prune/sweep.h"

namespace elek::cli {

[[nodiscard]] std::string sweep_table(const Dense& dense, const Sweep& sweep, const SweepSpec& spec);
[[nodiscard]] Json sweep_json(const Dense& dense, const Sweep& sweep, const SweepSpec& spec);
/// RFC 4180: a header, one line per cut and repair, fields quoted if they must be; accuracies are fractions.
[[nodiscard]] std::string sweep_csv(const Dense& dense, const Sweep& sweep);
/// The same format with one line per image of the evaluation data and one column per result, dense first: 1 if the network was
/// right, 0 if not (random: the share of draws that were right). Two sweeps over the same images can be paired with it.
[[nodiscard]] std::string images_csv(const Sweep& sweep);
[[nodiscard]] Plot sweep_plot(const Dense& dense, const Sweep& sweep, const SweepSpec& spec);

}  // namespace elek::cli
