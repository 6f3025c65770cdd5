// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_beside.h"

#include <algorithm>
#include <vector>

#include "cli/latency.h"

namespace elek::cli {
namespace {

/// The goal: a pruned layer reaches at least this share of the speed-up that its work and bytes allow.
constexpr double kAim = 0.9;
/// At most this many layers below the goal are listed.
constexpr size_t kMostNamed = 10;

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
    const std::string dense = short_kernel(step.dense.kernel), pruned = short_kernel(step.pruned.kernel);
    if (dense != pruned) changed += "  " + step.name + ": " + dense + ", pruned " + pruned + "\n";
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

std::string short_kernel(const std::string& kernel) {
  std::string text;
  for (size_t i = 0; i < kernel.size(); ++i) {
    if (kernel[i] == ':') i = std::min(kernel.find_first_of(" ,", i), kernel.size());
    if (i < kernel.size()) text += kernel[i];
  }
  const size_t last = text.rfind(' ');
  const auto is_set = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  if (last != std::string::npos && std::all_of(text.begin() + static_cast<std::ptrdiff_t>(last) + 1, text.end(), is_set))
    text.resize(last);
  return text;
}

std::string fit(const std::string& text, size_t width) {
  return text.size() <= width ? text : ".." + text.substr(text.size() - width + 2);
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
            {"kernel", short_kernel(s.kernel)}};
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
