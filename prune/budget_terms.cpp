// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/fit_budget_test.cpp
#include "prune/budget_terms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <utility>

#include "core/at.h"
#include "engine/estimate.h"
#include "prune/groups.h"

namespace elek {

UsageTerms tensor_bytes_terms(const std::vector<Group>& groups, const Graph& graph) {
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  UsageTerms terms;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const auto id = static_cast<ValueId>(i);
    for (const OpParameter& parameter : op_parameters(graph, node)) {
      const bool reads_all = parameter.shape.rank() > 1 && !is_depthwise(graph, id);
      terms.sum.push_back({static_cast<double>(parameter.shape.elements()) * sizeof(float),
                           reads_all ? parts_of(graph, segments, node.inputs.at(0)) : std::vector<UsagePart>{},
                           parts_of(graph, segments, id)});
    }
  }
  return terms;
}

UsageTerms memory_terms(const Model& model, const std::vector<Group>& groups, const SessionOptions& options) {
  const Graph& graph = model.graph;
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  const SessionEstimate estimate = estimate_memory(model, options);
  const Program& program = estimate.program;
  const auto parts = [&](ValueId value) { return value < 0 ? std::vector<UsagePart>{} : parts_of(graph, segments, value); };
  UsageTerms terms;
  double packed = 0;
  for (const ProgramStep& step : program.steps) {
    if (step.weights_bytes == 0) continue;
    const bool mixes = !is_depthwise(graph, graph.find(step.node.node.name));
    terms.sum.push_back({static_cast<double>(step.weights_bytes), mixes ? parts(step.node.input) : std::vector<UsagePart>{},
                         parts(step.node.output)});
    packed += static_cast<double>(step.weights_bytes);
  }
  terms.sum.push_back({static_cast<double>(estimate.memory.weights_bytes) - packed, {}, {}});
  std::vector<std::vector<UsagePart>> of_storage(program.storages.size());
  std::vector<size_t> largest(program.storages.size(), 0);
  for (const ProgramTensor& tensor : program.tensors) {
    if (tensor.storage < 0 || tensor.bytes < largest[at(tensor.storage)]) continue;
    largest[at(tensor.storage)] = tensor.bytes;
    of_storage[at(tensor.storage)] = parts(tensor.value);
  }
  for (size_t s = 0; s < program.steps.size(); ++s) {
    const ProgramStep& step = program.steps[s];
    std::vector<UsageTerm>& alive = terms.moments.emplace_back();
    for (size_t i = 0; i < program.storages.size(); ++i) {
      const Storage& storage = program.storages[i];
      if (std::cmp_less_equal(storage.first_step, s) && std::cmp_less_equal(s, storage.last_step))
        alive.push_back({static_cast<double>(storage.bytes), {}, of_storage[i]});
    }
    // Workspaces hold inputs, or results, or both: half of each is near enough.
    const double half = static_cast<double>(step.workspace_bytes) / 2;
    if (half > 0) {
      alive.push_back({half, {}, parts(step.node.input)});
      alive.push_back({half, {}, parts(step.node.output)});
    }
  }
  return terms;
}

namespace {

constexpr std::array<double, 5> kShares{0.125, 0.25, 0.5, 0.75, 1.0};
using Row = std::array<double, kShares.size()>;

/// The place of `share` between the measured ones: the index of the lower one, and how far it is to the next. Below the first,
/// the first interval is extended.
std::pair<size_t, double> place_of(double share) {
  size_t low = 0;
  while (low + 2 < kShares.size() && share > kShares.at(low + 1)) ++low;
  return {low, (share - kShares.at(low)) / (kShares.at(low + 1) - kShares.at(low))};
}

double between(const Row& row, double share) {
  const auto [low, way] = place_of(share);
  return row.at(low) * (1 - way) + row.at(low + 1) * way;
}

int64_t width_at(int64_t channels, int64_t multiple, double share) {
  const auto wish = std::llround(share * static_cast<double>(channels) / static_cast<double>(multiple));
  return std::max<int64_t>(1, wish) * multiple;
}

}  // namespace

UsageTerms latency_terms(const std::vector<Group>& groups, const Graph& graph, LayerTimes& times, double dense_us) {
  const std::vector<std::vector<ValueSegment>> segments = segments_of_values(graph, groups);
  UsageTerms terms;
  double rest = dense_us;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const auto id = static_cast<ValueId>(i);
    if (!node.is<Conv2dAttrs>()) continue;
    const bool depthwise = is_depthwise(graph, id);
    const ImageShape image = graph.node(node.inputs.front()).shape;
    const auto conv = node.as<Conv2dAttrs>();
    const bool input_stays = std::none_of(segments[at(node.inputs.front())].begin(), segments[at(node.inputs.front())].end(),
                                          [&](const ValueSegment& each) { return groups[each.group].prunable; });
    const auto us_at = [&](double input, double output) {
      ImageShape x = image;
      Conv2dAttrs c = conv;
      c.out_channels = width_at(conv.out_channels, depthwise ? 1 : conv.groups, output);
      x.channels = width_at(image.channels, depthwise ? 1 : conv.groups, input);
      if (depthwise) x.channels = c.groups = c.out_channels;
      return times.us(x, c);
    };
    const double whole = us_at(1, 1);
    rest -= whole;
    auto grid = std::make_shared<std::array<Row, kShares.size()>>();  // [input][output], shares of `whole`
    for (size_t in = 0; in < kShares.size(); ++in) {
      for (size_t out = 0; out < kShares.size(); ++out) {
        const double input = depthwise || input_stays ? 1.0 : kShares.at(in);
        grid->at(in).at(out) = us_at(input, kShares.at(out)) / whole;
      }
    }
    terms.sum.push_back({whole, depthwise ? std::vector<UsagePart>{} : parts_of(graph, segments, node.inputs.front()),
                         parts_of(graph, segments, id), [grid](double input, double output) {
                           Row column{};
                           for (size_t in = 0; in < kShares.size(); ++in) column.at(in) = between(grid->at(in), output);
                           return std::max(0.0, between(column, input));
                         }});
  }
  terms.sum.push_back({std::max(0.0, rest), {}, {}});
  return terms;
}

}  // namespace elek
