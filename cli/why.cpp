// SPDX-License-Identifier: Apache-2.0
#include "cli/why.h"

#include <numeric>

namespace elek::cli {
namespace {

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// What is explained, and how much of it is kept.
std::string about(const Why& why) {
  const int64_t kept = std::accumulate(why.kept.begin(), why.kept.end(), int64_t{0});
  if (why.criterion.empty()) {
    return why.name + ": of " + with_commas(why.weights) + " weights " + with_commas(kept) + " are kept, by |W| * norm\n" +
           "rows are input channels; score = sqrt(w_sq*norm_sq), a summary: single weights compete\n";
  }
  const auto channels = std::ssize(why.scores);
  const double mean = std::accumulate(why.scores.begin(), why.scores.end(), 0.0) / static_cast<double>(channels);
  std::string text = why.name + ": of " + std::to_string(channels) + " channels " + std::to_string(kept) + " are kept and " +
                     std::to_string(channels - kept) + " removed, by " + why.criterion + " (mean score " + significant(mean) +
                     ")\n";
  if (why.conv_groups > 1)
    text += "equally many are kept in each of its " + std::to_string(why.conv_groups) + " convolution groups\n";
  return text + "made by " + list(why.producers) + "\nread by " + list(why.readers) + "\n";
}

std::string heading(const WhySource& source) {
  if (source.is_layer)
    return "read by " + source.name + ": norms of its inputs over " + with_commas(source.samples) + " images\n";
  return "value " + source.name + ": " + with_commas(source.positions) + " positions of " + with_commas(source.samples) +
         " images\n";
}

}  // namespace

std::string why_text(const Why& why) {
  std::string text = about(why);
  std::vector<size_t> order(why.rank.size());
  for (size_t c = 0; c < order.size(); ++c) order[static_cast<size_t>(why.rank[c] - 1)] = c;
  static const std::vector<WhySource> kNothingWatched(1);
  for (const WhySource& source : why.sources.empty() ? kNothingWatched : why.sources) {
    std::vector<std::string> header{"channel"};
    for (const WhyColumn& each : source.columns) header.push_back(each.name);
    for (const char* last : {"score", "rank", "kept"}) header.emplace_back(last);
    Table table(header);
    for (const size_t c : order) {
      std::vector<std::string> row{std::to_string(c)};
      for (const WhyColumn& each : source.columns) {
        row.push_back(each.counts ? with_commas(static_cast<int64_t>(each.values[c])) : significant(each.values[c]));
      }
      row.push_back(significant(why.scores[c]));
      row.push_back(std::to_string(why.rank[c]));
      row.push_back(why.of[c] == 1 ? (why.kept[c] == 1 ? "yes" : "no")
                                   : std::to_string(why.kept[c]) + "/" + std::to_string(why.of[c]));
      table.add(row);
    }
    text += "\n" + (source.name.empty() ? std::string() : heading(source)) + table.text();
  }
  return text;
}

Json why_json(const Why& why) {
  Json sources = Json::array();
  for (const WhySource& source : why.sources) {
    Json json = {{"name", source.name}};
    for (const WhyColumn& each : source.columns) json[each.name] = each.values;
    sources.push_back(std::move(json));
  }
  return {{"name", why.name}, {"scores", why.scores}, {"rank", why.rank},
          {"kept", why.kept}, {"of", why.of},         {"sources", sources}};
}

}  // namespace elek::cli
