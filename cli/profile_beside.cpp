// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_beside.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cli/profile_rows.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/step_times.h"
#include "plan/program.h"

namespace elek::cli {
namespace {

/// The goal: a pruned layer reaches at least this share of the speed-up that its work and bytes allow.
constexpr double kAim = 0.9;
/// At most this many layers below the goal are listed.
constexpr size_t kMostNamed = 10;

BesideStep::Side side_of(const Session& session, const Row& row, double arithmetic, const Peaks& peaks) {
  const Program& program = session.program();
  const auto channels = [&](int32_t tensor) {
    return tensor < 0 ? int64_t{0} : program.tensors[static_cast<size_t>(tensor)].shape.channels;
  };
  const auto index = static_cast<size_t>(row.step - program.steps.data());
  return {row.us, roof_with(session, index, arithmetic, peaks).us, channels(row.step->input), channels(row.step->output),
          short_kernel(row.step->kernel)};
}

Latency latency_of(const Measured& measured) {
  return {percentile(measured.runs_ms, 0.1), percentile(measured.runs_ms, 0.5), percentile(measured.runs_ms, 0.9)};
}

std::string ms(double us) { return decimal(us / 1e3, 3); }

std::string channels_text(const BesideStep& step) {
  const auto side = [](const BesideStep::Side& s) {
    return (s.inputs > 0 ? std::to_string(s.inputs) + ">" : "") + std::to_string(s.outputs);
  };
  return side(step.dense) + ", " + side(step.pruned);
}

/// Lists the layers that lose most time, and the kernels that changed.
std::string notes_text(const Beside& beside) {
  std::vector<const BesideStep*> behind;
  std::string changed;
  for (const BesideStep& step : beside.steps) {
    if (step.share() < kAim) behind.push_back(&step);
    if (step.dense.kernel != step.pruned.kernel)
      changed += "  " + step.name + ": " + step.dense.kernel + ", pruned " + step.pruned.kernel + "\n";
  }
  std::sort(behind.begin(), behind.end(), [](const auto* a, const auto* b) { return a->lost_us() > b->lost_us(); });
  std::string text;
  const size_t named = std::min(behind.size(), kMostNamed);
  for (size_t i = 0; i < named; ++i) text += "  " + behind[i]->name + ": " + ms(behind[i]->lost_us()) + " ms\n";
  if (named < behind.size()) text += "  and " + std::to_string(behind.size() - named) + " more\n";
  if (!text.empty()) text = "\nShare below " + decimal(kAim, 1) + " (marked <), largest loss of time first:\n" + text;
  if (!changed.empty()) text += "\nSteps that use another kernel:\n" + changed;
  return text;
}

}  // namespace

void check_beside(const Graph& dense, const Graph& pruned, const std::string& path) {
  for (const Node& node : dense.nodes()) {
    const ValueId other = pruned.find(node.name);
    if (other < 0 || pruned.node(other).shape.channels <= node.shape.channels) continue;
    throw UsageError("--beside " + path + ": '" + node.name + "' has " + std::to_string(pruned.node(other).shape.channels) +
                     " channels there, and " + std::to_string(node.shape.channels) +
                     " in --model; give the dense network as --model and its pruned form as --beside");
  }
}

Beside profile_beside(Session& dense, Session& pruned, double seconds, uint64_t seed, const Peaks& peaks) {
  Rounds first(dense, seed), second(pruned, seed);
  for (const Enough enough(seconds); !enough(first.count());) {
    first.take(true);
    second.take(true);
  }
  const Measured of_dense = first.medians(), of_pruned = second.medians();
  std::map<std::string, const Row*> by_name;
  const std::vector<Row> dense_rows = rows_of(dense, of_dense, peaks), pruned_rows = rows_of(pruned, of_pruned, peaks);
  for (const Row& row : pruned_rows) by_name[row.step->node.node.name] = &row;
  Beside made{{}, latency_of(of_dense), latency_of(of_pruned), first.count(), dense.program().batch, 0};
  double dense_roof_us = 0, pruned_roof_us = 0;
  for (const Row& row : dense_rows) {
    const std::string& name = row.step->node.node.name;
    const auto other = by_name.find(name);
    if (other == by_name.end() || dense_rows.size() != pruned_rows.size()) {
      throw InputError("--beside: expected a pruned form of --model with its " + std::to_string(dense_rows.size()) +
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

std::string beside_text(const Beside& beside) {
  constexpr size_t kNameWidth = 21;
  Table table({"step", "channels: dense, pruned", "dense ms", "pruned ms", "speed-up", "allowed", "share"});
  BesideStep all;
  for (const BesideStep& step : beside.steps) {
    table.add({fit(step.name, kNameWidth), channels_text(step), ms(step.dense.us), ms(step.pruned.us),
               decimal(step.speed_up(), 2), decimal(step.allowed(), 2),
               decimal(step.share(), 2) + (step.share() < kAim ? " <" : "  ")});
    all.dense.us += step.dense.us;
    all.pruned.us += step.pruned.us;
  }
  table.add_rule();
  table.add({"all steps", "", ms(all.dense.us), ms(all.pruned.us), decimal(all.speed_up(), 2), decimal(beside.allowed, 2),
             decimal(all.speed_up() / beside.allowed, 2) + "  "});
  const auto run = [](const Latency& l) {
    return decimal(l.p50, 3) + " ms (10 to 90 %: " + decimal(l.p10, 3) + " to " + decimal(l.p90, 3) + ")";
  };
  const bool slower = is_slower(beside.pruned, beside.dense);
  return table.text() + notes_text(beside) + "\nA run of " + std::to_string(beside.batch) +
         (beside.batch == 1 ? " image" : " images") + ": dense " + run(beside.dense) + ",\npruned " + run(beside.pruned) +
         ": " +
         (slower ? "THE PRUNED NETWORK IS SLOWER\n"
                 : decimal(beside.speed_up(), 2) + " times as fast; work and bytes\nallow " + decimal(beside.allowed, 2) +
                       " times; share " + decimal(beside.speed_up() / beside.allowed, 2) + ".\n") +
         "\nAllowed: the shortest time that the work and bytes of a step need on this machine, dense divided by\n"
         "pruned (for Winograd: the multiply-adds of the kernel that does fewer). Share: speed-up divided by\n"
         "allowed. Medians of " +
         with_commas(static_cast<int64_t>(beside.runs)) + " runs in turns.\n";
}

Json beside_json(const Beside& beside) {
  Json steps = Json::array();
  const auto side = [](const BesideStep::Side& s) -> Json {
    return {{"time_ms", s.us / 1e3},
            {"roof_ms", s.roof_us / 1e3},
            {"inputs", s.inputs},
            {"outputs", s.outputs},
            {"kernel", s.kernel}};
  };
  for (const BesideStep& step : beside.steps) {
    steps.push_back({{"name", step.name},
                     {"dense", side(step.dense)},
                     {"pruned", side(step.pruned)},
                     {"speed_up", step.speed_up()},
                     {"allowed_speed_up", step.allowed()},
                     {"lost_ms", step.lost_us() / 1e3}});
  }
  return {{"latency_ms", {{"dense", latency_json(beside.dense)}, {"pruned", latency_json(beside.pruned)}}},
          {"runs", beside.runs},
          {"speed_up", beside.speed_up()},
          {"allowed_speed_up", beside.allowed},
          {"steps", steps}};
}

}  // namespace elek::cli
