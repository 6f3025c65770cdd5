// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "cli/info.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

/// "0.0123 .. 4.56" of the scores of the kept (or removed) channels.
std::string score_range(const Cut& cut, bool of_kept) {
  std::vector<double> scores;
  for (size_t c = 0; c < cut.scores.size(); ++c) {
    const bool kept = std::binary_search(cut.kept.begin(), cut.kept.end(), static_cast<int64_t>(c));
    if (kept == of_kept) scores.push_back(cut.scores[c]);
  }
  if (scores.empty()) return "-";
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  return significant(*low) + " .. " + significant(*high);
}

std::string cuts_text(const HistoryEntry& entry) {
  Table table({"cut", "before", "after", "scores of kept", "of removed"});
  for (const Cut& cut : entry.cuts) {
    table.add({cut.name, with_commas(cut.before), with_commas(cut.before - cut.removed), score_range(cut, true),
               score_range(cut, false)});
  }
  std::string text = entry.cuts.empty() ? std::string() : table.text();
  bool first = true;
  for (const Cut& cut : entry.cuts) {
    if (cut.kept.empty()) continue;
    text += (first ? "kept\n" : "") + wrapped("  " + cut.name + ":", ranges(cut.kept));
    first = false;
  }
  return text;
}

std::string images(int64_t samples, const std::string& data) { return with_commas(samples) + " images of " + data; }

std::string scores_text(const Evaluation& e) {
  std::string text = percent(e.dense);
  if (e.pruned) text += " dense, " + percent(*e.pruned) + " just pruned";
  if (e.repaired) text += ", " + percent(*e.repaired) + " repaired";
  return text + " on " + images(e.samples, e.data) + " (" + e.hash + ")";
}

}  // namespace

std::string ranges(const std::vector<int64_t>& ascending) {
  std::string text;
  for (size_t i = 0; i < ascending.size();) {
    size_t last = i;
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    text += (text.empty() ? "" : " ") + std::to_string(ascending[i]);
    if (last > i) text += "-" + std::to_string(ascending[last]);
    i = last + 1;
  }
  return text;
}

std::string history_line(const HistoryEntry& entry) {
  std::string text = entry.action;
  if (!entry.criterion.empty()) text += " by " + entry.criterion;
  if (!entry.target.empty()) text += ", " + entry.target;
  if (!entry.replayed.empty()) text += ", as in " + entry.replayed;
  if (!entry.repair.empty()) text += ", repair " + entry.repair;
  if (!entry.calibration.empty()) text += ", on " + images(entry.calibration_samples, entry.calibration);
  return text;
}

std::string history_text(const History& history) {
  if (history.empty()) return "this network was not changed since it was imported\n";
  std::string text;
  int64_t number = 0;
  for (const HistoryEntry& entry : history) {
    if (number++ > 0) text += "\n";
    text += std::to_string(number) + ". " + entry.action;
    if (!entry.criterion.empty()) text += " by " + entry.criterion;
    text += entry.version.empty() ? "\n" : " (elek " + entry.version + ")\n";
    const auto line = [&text](const std::string& label, const std::string& value) {
      if (!value.empty()) text += wrapped(label, value);
    };
    line("  target  ", entry.target);
    const bool imported = !entry.assumptions.empty() || entry.action == "prepare";
    line("  source  ", entry.source_hash.empty() ? "" : (imported ? "file " : "model ") + entry.source_hash);
    for (const Assumption& each : entry.assumptions) {
      line(each.source == "assumed" ? "  assumed " : "  read    ",
           each.what + ": " + each.value + (each.source == "assumed" ? "" : " (from " + each.source + ")"));
    }
    line("  repeats ", entry.replayed.empty() ? "" : "the choice of model " + entry.replayed);
    line("  watched ", entry.calibration.empty() ? "" : images(entry.calibration_samples, entry.calibration));
    line("  tap     ", entry.tap);
    line("  kernels ", entry.kernels);
    line("  repair  ",
         entry.repair + (entry.repair_data.empty() ? "" : " over " + images(entry.repair_samples, entry.repair_data)));
    line("  accuracy", entry.evaluation ? scores_text(*entry.evaluation) : "");
    line("  seed    ", std::to_string(entry.seed));
    text += cuts_text(entry);
  }
  return text;
}

Json history_json(const History& history) { return Json::parse(history_to_json(history)); }

}  // namespace elek::cli
