// SPDX-License-Identifier: Apache-2.0
#include "cli/baseline.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/percentile.h"

namespace elek::cli {
namespace {

constexpr size_t kBlocks = 20;

std::vector<double> logarithms(const std::vector<double>& ms) {
  std::vector<double> made(ms.size());
  std::transform(ms.begin(), ms.end(), made.begin(), [](double t) { return std::log(t); });
  return made;
}

std::string percent_of_ratio(double ratio) { return decimal(std::fabs(ratio - 1) * 100, 1); }

}  // namespace

double parse_fail_above(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || std::string_view(rest, static_cast<size_t>(end - rest)) != "%" ||
      !(number >= 0 && number < 1000)) {
    throw UsageError("--fail-above '" + text + "': expected a share of time with a percent sign, for example 3%");
  }
  return number / 100;
}

Json conditions_json(const BenchConditions& c) {
  return {{"processor", c.processor}, {"cores", c.cores}, {"device", c.device},
          {"precision", c.precision}, {"batch", c.batch}, {"threads", c.threads}};
}

std::vector<double> block_medians(const std::vector<double>& ms) {
  const size_t blocks = std::min(kBlocks, ms.size());
  std::vector<double> made;
  for (size_t block = 0; block < blocks; ++block) {
    const auto begin = ms.begin() + static_cast<std::ptrdiff_t>(block * ms.size() / blocks);
    const auto end = ms.begin() + static_cast<std::ptrdiff_t>((block + 1) * ms.size() / blocks);
    made.push_back(median({begin, end}));
  }
  return made;
}

bool is_json_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char first = 0;
  return file >> first && first == '{';
}

std::vector<double> read_baseline(const std::string& path, const BenchConditions& now) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  const Json json = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  const std::string expected = path + ": expected the output of elek bench --json";
  if (!json.is_object() || json.value("command", "") != "bench") throw InputError(expected + ", found something else");
  if (!json.contains("conditions") || !json.contains("block_ms")) {
    throw InputError(expected + " of this version, found an older one without \"block_ms\"; measure it again");
  }
  std::string other;
  const Json here = conditions_json(now);
  for (const auto& [key, value] : here.items()) {
    const Json found = json.at("conditions").value(key, Json());
    if (found != value)
      other += (other.empty() ? "" : ", ") + key + " " + found.dump() + " there and " + value.dump() + " here";
  }
  if (!other.empty()) {
    throw UsageError("--baseline " + path + ": was measured under other conditions: " + other +
                     "; measure both on one machine with the same options, or give the model file as the baseline");
  }
  std::vector<double> blocks;
  for (const Json& block : json.at("block_ms")) {
    const double ms = block.is_number() ? block.get<double>() : NAN;
    if (!(ms > 0)) throw InputError(path + ": \"block_ms\" must hold positive numbers, found " + block.dump());
    blocks.push_back(ms);
  }
  if (blocks.size() < 2) throw InputError(path + ": \"block_ms\" must hold two times or more");
  return blocks;
}

Slowdown slowdown(const std::vector<double>& now_ms, const std::vector<double>& baseline_ms, bool in_turns) {
  const std::vector<double> now = logarithms(now_ms), before = logarithms(baseline_ms);
  MeanInterval of_logarithms;
  if (in_turns) {
    ELEK_CHECK(now.size() == before.size(), "turns of two networks must have a time for each");
    std::vector<double> differences(now.size());
    std::transform(now.begin(), now.end(), before.begin(), differences.begin(), std::minus<>());
    of_logarithms = mean_interval(differences);
  } else {
    of_logarithms = difference_interval(now, before);
  }
  return {{std::exp(of_logarithms.mean), std::exp(of_logarithms.low), std::exp(of_logarithms.high)}, in_turns};
}

std::string slowdown_text(const Slowdown& found, const std::string& baseline) {
  const MeanInterval& r = found.ratio;
  const std::string how = found.in_turns ? ", in turns with it" : ", measured earlier";
  if (r.low <= 1 && r.high >= 1) {
    return "Not measurably slower or faster than " + baseline + how + ": between " + percent_of_ratio(r.low) +
           " % faster and " + percent_of_ratio(r.high) + " % slower.\n";
  }
  const double least = r.mean > 1 ? r.low : r.high, most = r.mean > 1 ? r.high : r.low;
  return percent_of_ratio(r.mean) + " % " + (r.mean > 1 ? "slower" : "faster") + " than " + baseline + how +
         " (95 % interval: " + percent_of_ratio(least) + " to " + percent_of_ratio(most) + " %).\n";
}

Json slowdown_json(const Slowdown& found) {
  return {{"ratio", found.ratio.mean}, {"low", found.ratio.low}, {"high", found.ratio.high}, {"in_turns", found.in_turns}};
}

void check_slowdown(const Slowdown& found, double fail_above, const std::string& baseline) {
  if (found.ratio.mean <= 1 + fail_above || found.ratio.low <= 1) return;
  throw TooSlow(percent_of_ratio(found.ratio.mean) + " % slower than " + baseline + "; --fail-above allows " +
                decimal(fail_above * 100, 1) + " %");
}

Json action_json(const std::string& name, const std::vector<double>& block_ms, size_t peak_rss_bytes,
                 const BenchConditions& c) {
  const auto [least, most] = std::minmax_element(block_ms.begin(), block_ms.end());
  const std::string extra = c.processor + ", " + c.device + " " + c.precision + ", batch " + std::to_string(c.batch) +
                            ", threads " + std::to_string(c.threads);
  Json entries = Json::array();
  entries.push_back({{"name", name + ": latency"},
                     {"unit", "ms"},
                     {"value", median(block_ms)},
                     {"range", decimal(*least, 3) + " to " + decimal(*most, 3)},
                     {"extra", extra}});
  entries.push_back({{"name", name + ": peak RSS"},
                     {"unit", "MB"},
                     {"value", static_cast<double>(peak_rss_bytes) / 1e6},
                     {"range", "exact"},
                     {"extra", extra}});
  return entries;
}

}  // namespace elek::cli
