// SPDX-License-Identifier: Apache-2.0
// Batch-norm re-estimation: the session measures, and this file writes the moments into a new model.
// Tests: tests/prune/repair_test.cpp
#include "prune/repair.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"

namespace elek {
namespace {

constexpr std::array<std::pair<Repair, const char*>, 6> kNames{{{Repair::kRefit, "refit"},
                                                                {Repair::kBatchNorm, "bn"},
                                                                {Repair::kRefitBatchNorm, "refit+bn"},
                                                                {Repair::kNone, "none"},
                                                                {Repair::kDistill, "distill"},
                                                                {Repair::kAuto, "auto"}}};

void check_moments(const Graph& graph, const BatchMoments& moments) {
  const std::string who = "batch-norm re-estimation: '" + moments.batch_norm + "' ";
  const ValueId id = graph.find(moments.batch_norm);
  ELEK_CHECK(id >= 0 && graph.node(id).is<BatchNormAttrs>(), who + "is not a batch norm of this model");
  const int64_t channels = graph.node(id).shape.channels;
  ELEK_CHECK(std::ssize(moments.mean) == channels && std::ssize(moments.variance) == channels,
             who + "has " + std::to_string(channels) + " channels, its moments have " + std::to_string(moments.mean.size()) +
                 " and " + std::to_string(moments.variance.size()));
  if (moments.batches <= 0) throw InputError(who + "had no batch; the calibration data is empty");
  for (size_t c = 0; c < moments.mean.size(); ++c) {
    if (!std::isfinite(moments.mean[c]) || !(std::isfinite(moments.variance[c]) && moments.variance[c] >= 0)) {
      throw InputError(who + "channel " + std::to_string(c) + " has mean " + std::to_string(moments.mean[c]) +
                       " and variance " + std::to_string(moments.variance[c]) +
                       ", expected finite values; check that the calibration images are what the network expects");
    }
  }
}

/// The new statistics of the channels that vary, the old ones of the others: a constant channel says nothing about its spread.
std::shared_ptr<Tensor> renewed(const Tensor& old, const std::vector<double>& fresh, const std::vector<double>& variance,
                                const std::string& name, MemoryResource& resource) {
  auto tensor = std::make_shared<Tensor>(old.clone(resource, {name, Use::kModel}));
  const std::span<float> values = tensor->f32();
  for (size_t c = 0; c < values.size(); ++c) {
    if (variance[c] > 0) values[c] = static_cast<float>(fresh[c]);
  }
  return tensor;
}

bool has_batch_norm(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& node) { return node.is<BatchNormAttrs>(); });
}

}  // namespace

std::string name_of(Repair repair) {
  for (const auto& [known, text] : kNames) {
    if (known == repair) return text;
  }
  throw ContractError("repair " + std::to_string(static_cast<int>(repair)) + " has no name");
}

Repair repair_from_name(const std::string& name) {
  std::string names;
  for (const auto& [repair, text] : kNames) {
    if (name == text) return repair;
    names += std::string(names.empty() ? "" : ", ") + text;
  }
  throw UsageError("unknown repair '" + name + "'; expected one of " + names);
}

std::string name_of(RefitTarget target) { return target == RefitTarget::kBlock ? "block" : "layer"; }

RefitTarget refit_target_from_name(const std::string& name) {
  for (const RefitTarget target : {RefitTarget::kLayer, RefitTarget::kBlock}) {
    if (name == name_of(target)) return target;
  }
  throw UsageError("unknown target of the refit '" + name + "'; expected layer or block");
}

Model with_batch_moments(const Model& model, const std::vector<BatchMoments>& moments, MemoryResource& resource) {
  std::set<std::string> seen;
  for (const BatchMoments& layer : moments) {
    check_moments(model.graph, layer);
    ELEK_CHECK(seen.insert(layer.batch_norm).second, "batch-norm re-estimation: '" + layer.batch_norm + "' was given twice");
  }
  Model repaired = model;
  for (const BatchMoments& layer : moments) {
    const std::string mean = layer.batch_norm + ".running_mean";
    const std::string variance = layer.batch_norm + ".running_var";
    repaired.parameters[mean] = renewed(model.parameter(mean), layer.mean, layer.variance, mean, resource);
    repaired.parameters[variance] = renewed(model.parameter(variance), layer.variance, layer.variance, variance, resource);
  }
  return repaired;
}

Model reestimate_batch_norm(const Model& model, BatchSource& calibration, int64_t max_batches, SessionOptions options,
                            const Progress& progress) {
  if (!has_batch_norm(model.graph)) {
    warn("the network has no batch norm, so re-estimation changes nothing");
    return model;
  }
  options.probes = {};
  options.batch_norm = BatchNorm::kApart;
  options.batch_moments = true;
  Session session(model, options);
  if (for_each_batch(session, calibration, max_batches, progress) == 0) {
    throw InputError("batch-norm re-estimation: '" + calibration.description() + "' has no sample");
  }
  // Parameters are in host memory, whichever device measured.
  const bool on_host = options.memory != nullptr && is_host(options.memory->device());
  return with_batch_moments(model, session.batch_moments(), on_host ? *options.memory : host_resource());
}

}  // namespace elek
