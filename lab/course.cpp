// SPDX-License-Identifier: Apache-2.0
#include "lab/course.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "lab/trace_file.h"

namespace elek {
namespace {

constexpr size_t kMb = 1'000'000;

/// A block of the exercises: megabytes, first and last step from 1.
struct Life {
  const char* name;
  size_t mb;
  int32_t first, last;
};

Trace trace_of_lives(const std::vector<Life>& lives) {
  Trace trace;
  for (const Life& life : lives) {
    trace.blocks.push_back(
        {life.name, life.name, life.mb * kMb / kAlignment * kAlignment, life.first - 1, life.last - 1, false});
    trace.steps.resize(std::max(trace.steps.size(), static_cast<size_t>(life.last)));
  }
  schedule(trace);
  return trace;
}

double peak_mb(const Trace& trace) {  // in the exercises' megabytes
  const std::vector<size_t> sums = alive_at_steps(trace);
  return std::round(static_cast<double>(*std::max_element(sums.begin(), sums.end())) / kMb);
}

const std::vector<Life>& first_trace() {
  static const std::vector<Life> lives{{"a", 4, 1, 3}, {"b", 2, 2, 4}, {"c", 3, 4, 5}, {"d", 1, 3, 5}, {"e", 5, 6, 6}};
  return lives;
}

/// The block of lesson 2: x feeds a main path (p, q, r) and a projection (s); the sum writes over the later of r and s.
double residual_peak(bool projection_last) {
  // megabytes: x 8, p 4, q 2, r 4, s 4
  return peak_mb(projection_last ? trace_of_lives({{"x", 8, 1, 5}, {"p", 4, 2, 3}, {"q", 2, 3, 4}, {"r", 4, 4, 6}})
                                 : trace_of_lives({{"x", 8, 1, 3}, {"s", 4, 2, 6}, {"p", 4, 3, 4}, {"q", 2, 4, 5}}));
}

/// Exercise 2.3: the least peak over all orders of five independent chains of two steps: step one makes a large block, step two
/// shrinks it to a small one that lives to the end.
double best_order_peak() {
  const std::array<std::pair<int, int>, 5> chains{{{9, 2}, {3, 1}, {7, 1}, {5, 4}, {8, 3}}};  // large and small, in MB
  std::array<size_t, 5> order{0, 1, 2, 3, 4};
  int best = 1 << 30;
  do {
    int kept = 0, peak = 0;
    for (const size_t i : order) {
      peak = std::max(peak, kept + chains[i].first + chains[i].second);
      kept += chains[i].second;
    }
    best = std::min(best, peak);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

const std::vector<Life>& placement_trace() {
  static const std::vector<Life> lives{{"a", 2, 1, 2}, {"b", 3, 1, 4}, {"c", 2, 3, 6}, {"d", 3, 5, 8},
                                       {"e", 1, 2, 5}, {"f", 2, 7, 8}, {"g", 2, 6, 7}, {"h", 1, 4, 8}};
  return lives;
}

const std::vector<Life>& fit_trace() {
  static const std::vector<Life> lives{{"a", 3, 1, 2}, {"b", 1, 1, 9}, {"c", 2, 1, 4},
                                       {"d", 1, 1, 9}, {"e", 2, 3, 9}, {"f", 3, 5, 9}};
  return lives;
}

std::optional<double> number_in(const std::string& answer) {
  double value = 0;
  const auto [end, error] = std::from_chars(answer.data(), answer.data() + answer.size(), value);
  if (error != std::errc() || end != answer.data() + answer.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

using Checker = std::function<Judgement(const std::string& exercise, const std::string& answer, const TeachingTrace&)>;

/// An answer that is a number, right within `tolerance` of it.
Checker number(const std::function<double(const TeachingTrace&)>& expected, double tolerance, const char* hint) {
  return [=](const std::string& exercise, const std::string& answer, const TeachingTrace& network) -> Judgement {
    const std::optional<double> value = number_in(answer);
    if (!value)
      throw UsageError("exercise " + exercise + ": '" + answer + "' is no answer: it is a number without a unit, like 6.4");
    if (std::abs(*value - expected(network)) <= tolerance) return {true, "right"};
    return {false, std::string("not yet: ") + hint};
  };
}

/// An answer that is one word.
Checker word(const std::function<std::vector<std::string>(const TeachingTrace&)>& accepted, const char* hint) {
  return [=](const std::string& /*exercise*/, const std::string& answer, const TeachingTrace& network) -> Judgement {
    for (const std::string& right : accepted(network)) {
      if (answer == right) return {true, "right"};
    }
    return {false, std::string("not yet: ") + hint};
  };
}

std::string mb(size_t bytes) {
  std::array<char, 32> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), static_cast<double>(bytes) / 1e6, std::chars_format::fixed, 3);
  return std::string(text.data(), end.ptr) + " MB";
}

/// An answer that is a file with a placement, of at most limit(trace) bytes.
Checker placement(const std::function<Trace(const TeachingTrace&)>& made, const std::function<size_t(const Trace&)>& limit,
                  const char* words) {
  return [=](const std::string& /*exercise*/, const std::string& answer, const TeachingTrace& network) -> Judgement {
    const Trace trace = made(network);
    const Placement judged = placed(trace, read_placement(answer, trace));
    if (judged.problem_count > 0) return {false, "not yet: " + judged.problems.front()};
    const size_t most = limit(trace), needs = judged.replay.peak_reserved_bytes;
    if (needs <= most) return {true, "right: " + mb(needs) + ", and " + mb(judged.replay.peak_live_bytes) + " is the bound"};
    return {false, "not yet: it needs " + mb(needs) + ", and " + words + " " + mb(most)};
  };
}

double population_variance(const std::vector<double>& values) {
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return sum / static_cast<double>(values.size());
}

Judgement breaks_first_fit(const std::string& answer) {
  const Trace trace = read_trace(answer);
  if (trace.blocks.size() > 12) {
    return {false, "not yet: " + std::to_string(trace.blocks.size()) + " blocks, and at most 12 are allowed"};
  }
  for (const Trace::Block& b : trace.blocks) {
    if (b.bytes > 4 * kMb) return {false, "not yet: '" + b.label + "' has more than 4 MB"};
  }
  const Replay fit = replay(trace, Strategy::kFirstFit);
  const double ratio = static_cast<double>(fit.peak_reserved_bytes) / static_cast<double>(fit.peak_live_bytes);
  const std::string words =
      "first fit reserves " + mb(fit.peak_reserved_bytes) + " where " + mb(fit.peak_live_bytes) + " are alive";
  if (ratio >= 1.5) return {true, "right: " + words};
  return {false, "not yet: " + words + "; half as much again is asked for"};
}

const std::map<std::string, Checker>& checkers() {
  static const auto first = [](const TeachingTrace&) { return trace_of_lives(first_trace()); };
  static const auto whole_peak = [](const Trace& trace) {
    const std::vector<size_t> sums = alive_at_steps(trace);
    return *std::max_element(sums.begin(), sums.end());
  };
  static const std::map<std::string, Checker> all{
      {"1.1", number([](const TeachingTrace& n) { return peak_mb(first(n)); }, 0.01,
                     "add up, at each step, the blocks whose first step is not later and whose last step is not earlier")},
      {"1.2", word(
                  [](const TeachingTrace& network) {
                    const Trace trace = network(1);
                    const std::vector<size_t> sums = alive_at_steps(trace);
                    std::vector<std::string> names;
                    for (size_t i = 0; i < sums.size(); ++i) {
                      if (sums[i] == whole_peak(trace)) names.push_back(trace.steps[i]);
                    }
                    return names;
                  },
                  "the answer is the name of a step, as the list of steps prints it; look for the largest sum")},
      {"1.3", number([](const TeachingTrace& network) { return static_cast<double>(whole_peak(network(4))); }, 0.5,
                     "the answer is in bytes; which of the blocks grow with the batch?")},
      {"2.1", number([](const TeachingTrace&) { return residual_peak(false); }, 0.01,
                     "the projection's output lives until the sum, so it lies beside the whole main path")},
      {"2.2", number([](const TeachingTrace&) { return residual_peak(true); }, 0.01,
                     "x lives until the projection has read it; the sum needs no block of its own")},
      {"2.3", number([](const TeachingTrace&) { return best_order_peak(); }, 0.01,
                     "exchange two neighbouring chains: which of the two should come first?")},
      {"3.1", number(
                  [](const TeachingTrace&) {
                    return peak_mb(trace_of_lives({{"a", 3, 1, 1}, {"b", 2, 1, 2}, {"c", 3, 2, 2}}));
                  },
                  0.01, "a and c are never alive together")},
      {"3.2",
       placement([](const TeachingTrace&) { return trace_of_lives(placement_trace()); },
                 [](const Trace& trace) { return replay(trace, Strategy::kArena).peak_reserved_bytes; }, "the plan needs")},
      {"3.3",
       placement([](const TeachingTrace& network) { return network(1); },
                 [](const Trace& trace) { return replay(trace, Strategy::kFirstFit).peak_reserved_bytes; }, "first fit needs")},
      {"4.1", number([](const TeachingTrace&) { return 100.0 * (1.0 - 4.0 / 8.0); }, 0.5,
                     "1 - largest hole / all free bytes, in percent")},
      {"4.2", number(
                  [](const TeachingTrace&) {
                    return std::round(
                        static_cast<double>(replay(trace_of_lives(fit_trace()), Strategy::kFirstFit).peak_reserved_bytes) /
                        kMb);
                  },
                  0.01, "draw the range after each step; a block takes the lowest hole that is large enough")},
      {"4.3", [](const std::string& /*exercise*/, const std::string& answer,
                 const TeachingTrace&) { return breaks_first_fit(answer); }},
      {"5.1",
       number([](const TeachingTrace&) { return std::floor((200.0 - 102.0 - 6.4) / 0.305); }, 0.01,
              "what is left beside weights and arena, divided by what one image needs; a part of an image does not fit")},
      {"5.2", word(
                  [](const TeachingTrace&) {
                    return std::vector<std::string>{"b", "d", "f", "h", "j"};
                  },
                  "which block lies between two holes?")},
      {"5.3", number(
                  [](const TeachingTrace& network) {
                    int64_t batch = 0;
                    while (whole_peak(network(batch + 1)) <= 100 * kMb) ++batch;
                    return static_cast<double>(batch);
                  },
                  0.01, "the arena grows in proportion to the batch; the limit is 100,000,000 bytes")},
      {"6.1", number([](const TeachingTrace&) { return 1000.0 * 64 * 32 * 32 * 4 / 1e6; }, 0.01,
                     "images x channels x positions x 4 bytes, in MB of 1,000,000 bytes")},
      {"6.2", number(
                  [](const TeachingTrace&) {
                    return population_variance({1, 3, 3, 5});
                  },
                  1e-6, "the mean of the squares minus the square of the mean")},
      {"6.3", number(
                  [](const TeachingTrace&) {
                    return population_variance({1, 3, 3, 5, 7, 7, 9, 9, 1, 1});
                  },
                  1e-6, "add the counts and both sums of the two parts first; variances themselves cannot be added")},
  };
  return all;
}

}  // namespace

std::vector<std::string> exercises() {
  std::vector<std::string> names;
  for (const auto& [name, checker] : checkers()) names.push_back(name);
  return names;
}

Judgement check_answer(const std::string& exercise, const std::string& answer, const TeachingTrace& network) {
  const auto found = checkers().find(exercise);
  if (found == checkers().end()) {
    throw UsageError("no exercise '" + exercise + "'; there are " + exercises().front() + " to " + exercises().back() +
                     ", three for each of six lessons (docs/course)");
  }
  return found->second(exercise, answer, network);
}

Program teaching_program(Program program) {
  for (ProgramStep& step : program.steps) step.workspace_bytes = 0;
  for (Storage& storage : program.storages) storage.bytes = 0;
  for (ProgramTensor& tensor : program.tensors) {
    tensor.bytes = static_cast<size_t>(program.micro_batch * tensor.shape.elements()) * sizeof(float);
    if (tensor.storage < 0) continue;
    size_t& bytes = program.storages[static_cast<size_t>(tensor.storage)].bytes;
    bytes = std::max(bytes, tensor.bytes);
  }
  return program;
}

}  // namespace elek
