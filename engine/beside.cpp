// SPDX-License-Identifier: Apache-2.0
#include "engine/beside.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "engine/step_rounds.h"
#include "plan/program.h"

namespace elek {
namespace {

BesideStep::Side side_of(const Session& session, const StepRow& row, double arithmetic, const Peaks& peaks) {
  const Program& program = session.program();
  const auto channels = [&](int32_t tensor) {
    return tensor < 0 ? int64_t{0} : program.tensors[static_cast<size_t>(tensor)].shape.channels;
  };
  const auto index = static_cast<size_t>(row.step - program.steps.data());
  return {row.us, roof_with(session, index, arithmetic, peaks).us, channels(row.step->input), channels(row.step->output),
          row.step->kernel};
}

}  // namespace

void check_beside(const Graph& dense, const Graph& pruned) {
  for (const Node& node : dense.nodes()) {
    const ValueId other = pruned.find(node.name);
    if (other < 0 || pruned.node(other).shape.channels <= node.shape.channels) continue;
    throw UsageError("'" + node.name + "' has " + std::to_string(pruned.node(other).shape.channels) +
                     " channels in the pruned network and " + std::to_string(node.shape.channels) + " in the dense one");
  }
}

Beside profile_beside(Session& dense, Session& pruned, double seconds, uint64_t seed, const Peaks& peaks) {
  StepRounds first(dense, seed), second(pruned, seed);
  for (const EnoughRounds enough(seconds); !enough(first.count());) {
    first.take(true);
    second.take(true);
  }
  const StepMedians of_dense = first.medians(), of_pruned = second.medians();
  std::map<std::string, const StepRow*> by_name;
  const std::vector<StepRow> dense_rows = rows_of(dense, of_dense, peaks), pruned_rows = rows_of(pruned, of_pruned, peaks);
  for (const StepRow& row : pruned_rows) by_name[row.step->node.node.name] = &row;
  Beside made{{}, latency_of(of_dense.runs_ms), latency_of(of_pruned.runs_ms), first.count(), dense.program().batch, 0};
  double dense_roof_us = 0, pruned_roof_us = 0;
  for (const StepRow& row : dense_rows) {
    const std::string& name = row.step->node.node.name;
    const auto other = by_name.find(name);
    if (other == by_name.end() || dense_rows.size() != pruned_rows.size()) {
      throw InputError("expected a pruned form of the dense network with its " + std::to_string(dense_rows.size()) +
                       " steps, found " + std::to_string(pruned_rows.size()) + " steps" +
                       (other == by_name.end() ? ", '" + name + "' is missing" : std::string()));
    }
    const double arithmetic = std::min(row.step->arithmetic, other->second->step->arithmetic);
    BesideStep step{name, side_of(dense, row, arithmetic, peaks), side_of(pruned, *other->second, arithmetic, peaks)};
    dense_roof_us += step.dense.roof_us;
    pruned_roof_us += step.pruned.roof_us;
    if (step.dense.roof_us > 0 && step.pruned.roof_us > 0) made.steps.push_back(std::move(step));
  }
  made.allowed = dense_roof_us / pruned_roof_us;
  return made;
}

}  // namespace elek
