// SPDX-License-Identifier: Apache-2.0
// Visits the readers in graph order along one trail. After a group's last reader the group is eliminated. A reader's moments
// are freed after its last group. Tests: tests/prune/refit_costs_test.cpp
#include "prune/refit_costs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "prune/elimination.h"
#include "prune/groups.h"
#include "prune/reader_fits.h"
#include "prune/trail.h"

namespace elek {
namespace {

/// One multiply-add of the elimination (f64, matrices larger than the caches) takes about as long as this many of a
/// convolution.
constexpr double kEliminationPrice = 40;

bool reads(const Reader& reader, size_t group) {
  return std::find(reader.groups.begin(), reader.groups.end(), group) != reader.groups.end();
}

/// The groups whose last reader is r.
std::vector<size_t> groups_that_end(const std::vector<Reader>& readers, size_t r) {
  std::vector<size_t> ended;
  for (const size_t g : readers[r].groups) {
    if (std::none_of(readers.begin() + static_cast<int64_t>(r) + 1, readers.end(),
                     [&](const Reader& later) { return reads(later, g); }))
      ended.push_back(g);
  }
  return ended;
}

/// Bytes of the readers' fits, one reader after the other, as gather() and eliminate() hold them.
size_t most_moments_bytes(const Graph& graph, const std::vector<Reader>& readers, int threads) {
  size_t most = 0, held = 0;
  std::vector<size_t> open(readers.size());  // groups that still need the reader's fits
  for (size_t r = 0; r < readers.size(); ++r) {
    open[r] = readers[r].groups.size();
    held += fit_bytes(graph, readers[r]);
    most = std::max(most, held + FitMoments::bytes(readers[r].shape, false, threads));
    for (const size_t g : groups_that_end(readers, r)) {
      size_t copies = 0, freed = 0;
      for (size_t q = 0; q <= r; ++q) {
        if (!reads(readers[q], g)) continue;
        if (readers[q].shared) copies += fit_bytes(graph, readers[q]);
        if (--open[q] == 0) freed += fit_bytes(graph, readers[q]);
      }
      most = std::max(most, held + copies);
      held -= freed;
    }
  }
  return most;
}

/// One pass over the images. Returns the reader's fits.
std::vector<ReaderFit> gather(const Model& model, const Reader& reader, Trail& trail, int threads, double ridge,
                              std::map<ValueId, double>& variances, const std::function<void(int64_t)>& progress,
                              MemoryResource& resource) {
  FitMoments moments(reader.shape, false, threads, resource);
  int64_t samples = 0;
  const std::array<PassOutput, 1> outputs{PassOutput{&model, 0, reader.value}};
  trail.pass(outputs, [&](int64_t count, std::span<const std::span<const float>> values) {
    moments.add(values[0], FitTargets{}, count);
    samples += count;
    progress(count);
  });
  return fits_of(model, reader, moments, samples, threads, ridge, variances, resource);
}

/// The costs of a group whose readers are all gathered. Frees the fits that no other group needs: `open` counts these groups.
std::vector<double> eliminate(const std::vector<Group>& groups, size_t g, const std::vector<Reader>& readers, size_t last,
                              std::vector<std::vector<ReaderFit>>& gathered, std::vector<size_t>& open, int threads,
                              MemoryResource& resource) {
  const Group& group = groups[g];
  std::vector<ReaderFit> fits;
  for (size_t q = 0; q <= last; ++q) {
    if (!reads(readers[q], g)) continue;
    --open[q];
    for (ReaderFit& fit : gathered[q]) {
      if (readers[q].shared) {
        fits.push_back(copy_for_group(group, readers[q], fit, resource));
      } else {
        fits.push_back(std::move(fit));
        count_in_channels(group, readers[q], fits.back());
      }
    }
  }
  std::vector<double> costs = eliminate_channels(fits, group.channels, threads).costs;
  for (size_t q = 0; q <= last; ++q) {
    if (open[q] == 0) gathered[q].clear();
  }
  return costs;
}

}  // namespace

RefitCostsPlan plan_refit_costs(const Graph& graph, const std::vector<Group>& groups, int threads, int64_t samples,
                                size_t checkpoint_bytes) {
  const std::vector<Reader> readers = readers_of(graph, groups);
  std::vector<ValueId> inputs;
  inputs.reserve(readers.size());
  for (const Reader& reader : readers) inputs.push_back(reader.value);
  RefitCostsPlan plan;
  plan.layers = std::ssize(readers);
  plan.moments_bytes = most_moments_bytes(graph, readers, threads);
  plan.kept = plan_kept_values({&graph}, inputs, samples, checkpoint_bytes);
  ValueId from = -1;
  for (size_t r = 0; r < readers.size(); ++r) {
    const ValueId now = plan.kept.from[r];
    plan.macs_an_image += static_cast<double>(macs_between(graph, now, inputs[r])) + readers[r].shape.product_macs();
    if (now != from) plan.macs_an_image += static_cast<double>(macs_between(graph, from, now));
    for (const size_t g : readers[r].groups) plan.elimination_macs += elimination_macs_of(graph, readers[r], groups[g]);
    from = now;
  }
  const double all =
      static_cast<double>(std::max<int64_t>(1, samples)) * static_cast<double>(std::max<int64_t>(1, macs(graph)));
  plan.dense_passes = (plan.macs_an_image * static_cast<double>(samples) + kEliminationPrice * plan.elimination_macs) / all;
  return plan;
}

std::vector<std::vector<double>> refit_costs(const Model& model, const std::vector<Group>& groups, BatchSource& calibration,
                                             const SessionOptions& options, const Progress& progress, const RefitOptions& how) {
  const int threads = thread_count(options.threads);
  const bool on_host = options.memory != nullptr && is_host(options.memory->device());
  MemoryResource& resource = on_host ? *options.memory : host_resource();
  const int64_t images = calibration.samples();
  if (images == 0) throw InputError("refit costs: '" + calibration.description() + "' has no sample");
  const std::vector<Reader> readers = readers_of(model.graph, groups);
  const KeptValues kept =
      plan_refit_costs(model.graph, groups, threads, images, starts_from_values(options.device) ? how.checkpoint_bytes : 0)
          .kept;
  Trail trail(calibration, options, kept.floats, resource);
  std::map<ValueId, double> variances;
  std::vector<std::vector<double>> scores(groups.size());
  std::vector<std::vector<ReaderFit>> gathered(readers.size());
  std::vector<size_t> open;  // groups that still need the reader's fits
  open.reserve(readers.size());
  for (const Reader& reader : readers) open.push_back(reader.groups.size());
  const int64_t total = std::ssize(readers) * images;
  int64_t done = 0;
  for (size_t r = 0; r < readers.size(); ++r) {
    const Reader& reader = readers[r];
    if (kept.from[r] != trail.at()) trail.advance(std::array<const Model*, 1>{&model}, kept.from[r]);
    gathered[r] = gather(
        model, reader, trail, threads, how.ridge, variances,
        [&](int64_t count) {
          done += count;
          if (progress) progress(done, total);
        },
        resource);
    for (const size_t g : groups_that_end(readers, r))
      scores[g] = eliminate(groups, g, readers, r, gathered, open, threads, resource);
  }
  for (size_t g = 0; g < groups.size(); ++g) {  // prunable, but no reader mixes its channels
    if (groups[g].prunable && scores[g].empty()) scores[g].assign(at(groups[g].channels), 0.0);
  }
  return scores;
}

}  // namespace elek
