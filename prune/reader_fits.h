// SPDX-License-Identifier: Apache-2.0
// The layers that read prunable groups, and their fits for the elimination: mean second moments and scaled weights. A layer
// that reads several groups (after a concatenation) is measured once; each group then gets a copy in which its own columns come
// first and all others stay. Internal to prune/refit_costs. Tests: tests/prune/refit_costs_test.cpp,
// tests/prune/concat_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/prune.h"
#include "prune/elimination.h"
#include "prune/moments.h"

namespace elek {

/// A convolution or linear layer that reads prunable groups, not depthwise.
struct Reader {
  ValueId node = -1;
  ValueId value = -1;
  FitShape shape;
  std::vector<size_t> groups;  // the prunable ones that it reads
  bool shared = false;         // reads other channels too, or a channel in several places: groups get copies of its fit
};

/// In graph order.
[[nodiscard]] std::vector<Reader> readers_of(const Graph& graph, const std::vector<Group>& groups);

/// Bytes of the reader's fits, or of a copy of them.
[[nodiscard]] size_t fit_bytes(const Graph& graph, const Reader& reader);
/// MACs to remove all of the group's columns: each removal updates the upper half of H, and W.
[[nodiscard]] double elimination_macs_of(const Graph& graph, const Reader& reader, const Group& group);

/// The fits of the reader's convolution groups from the moments of `samples` samples, scaled so that costs are shares of the
/// variance of its outputs, with the ridge. Adds the variance of the reader's input to `variances`. InputError naming the layer
/// if a moment is not finite.
[[nodiscard]] std::vector<ReaderFit> fits_of(const Model& model, const Reader& reader, const FitMoments& moments,
                                             int64_t samples, int threads, double ridge, std::map<ValueId, double>& variances,
                                             MemoryResource& resource);

/// Counts the fit's columns in channels of the group, which alone is the reader's input. Columns of a flattened channel are
/// neighbours.
void count_in_channels(const Group& group, const Reader& reader, ReaderFit& fit);
/// A copy of a shared reader's fit: first the columns of the group, channel by channel, then all others as constants.
[[nodiscard]] ReaderFit copy_for_group(const Group& group, const Reader& reader, const ReaderFit& fit,
                                       MemoryResource& resource);

}  // namespace elek
