// SPDX-License-Identifier: Apache-2.0
// elek bench: steady throughput and latency of one model on random pixels in memory, without decoding and without disk. Latency
// is the time of one session.run() of a whole batch. For another precision than f32 it also shows how far the logits are from
// f32's on the same pixels. Comparisons with other programs are in bench/. Tests: tests/cli/bench_test.cpp,
// tests/cli/flow_test.cpp, tests/cli/baseline_test.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/baseline.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/latency.h"
#include "cli/network_report.h"
#include "cli/other_work.h"
#include "cli/paths.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/file.h"
#include "core/memory/process_memory.h"
#include "core/percentile.h"
#include "core/processor.h"
#include "core/threads.h"
#include "engine/run_times.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct BenchOptions {
  Common common;
  std::string model;
  int64_t batch = 1;
  int64_t micro_batch = 0;
  double seconds = 5;
  int warm_up = 3;
  std::string kernels = "rule";
  std::string baseline;
  std::string fail_above = "3%";
  std::string action_json;
  std::vector<std::string> report;
};

struct Measurement {
  std::vector<double> samples_ms;
  std::vector<double> block_ms;     // medians of blocks of runs
  std::vector<double> baseline_ms;  // the same of the baseline; empty without one
  std::optional<double> other_cores;
};

void prepare_to_run(Session& session, const BenchOptions& options) {
  for (Slot& slot : session.slots()) fill_with_random_pixels(slot, options.common.seed);
  for (int i = 0; i < options.warm_up; ++i) (void)session.run(session.slots()[0]);
}

/// With another network in turns, if there is one: a block of runs of each, so that both get half of the time.
Measurement measure(Session& session, Session* other_network, const BenchOptions& options) {
  prepare_to_run(session, options);
  if (other_network != nullptr) prepare_to_run(*other_network, options);
  Measurement made;
  const OtherWork other;
  if (other_network == nullptr) {
    made.samples_ms = time_runs(session, options.seconds);
    made.block_ms = block_medians(made.samples_ms);
  } else {
    constexpr int kTurns = 20;
    for (int turn = 0; turn < kTurns; ++turn) {
      const std::vector<double> before = time_runs(*other_network, options.seconds / (2 * kTurns));
      const std::vector<double> now = time_runs(session, options.seconds / (2 * kTurns));
      made.baseline_ms.push_back(median(before));
      made.block_ms.push_back(median(now));
      made.samples_ms.insert(made.samples_ms.end(), now.begin(), now.end());
    }
  }
  made.other_cores = other.cores();
  return made;
}

/// Compares `logits` [samples, classes] with f32's for the pixels of fill_with_random_pixels with this seed. Loads the model
/// again and runs it once in f32. Returns nothing if it does not fit the memory limit.
std::optional<Agreement> against_f32(std::span<const float> logits, const BenchOptions& options, Context& context) {
  try {
    SessionOptions f32 = context.session_options(options.batch);
    f32.precision = Precision::kF32;
    f32.micro_batch = options.micro_batch;
    Session session(load_model(options.model, context.memory()), f32);
    Slot& slot = session.slots()[0];
    fill_with_random_pixels(slot, options.common.seed);
    return agreement(logits, session.run(slot), options.batch);
  } catch (const OutOfMemory& error) {
    context.output().note("elek: not compared with f32, because that does not fit: " + error.reason());
    return {};
  }
}

/// The slow end of the measured runs, which the median hides.
struct Tail {
  double mean = 0, p99 = 0, max = 0;  // milliseconds
};

Tail tail_of(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  return {std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(ms.size()), percentile(ms, 0.99), ms.back()};
}

/// A sentence if mean and median differ by more than a tenth: then the rate (from the mean) and the median seem to contradict
/// each other.
std::string mean_text(const Tail& tail, double median) {
  constexpr double kMuch = 0.1;
  if (!(std::abs(tail.mean - median) > kMuch * median)) return "";
  return "Mean " + decimal(tail.mean, 3) + " ms and median " + decimal(median, 3) +
         " ms disagree: " + (tail.mean > median ? "a few runs were much slower" : "a few runs were much faster") +
         ". images/s counts all runs, so it follows the mean.\n";
}

/// ", 2 threads"; nothing for a GPU.
std::string threads_text(int threads, const Device& device) {
  if (!is_host(device)) return "";
  return ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

/// Called after all measurements, because its memory would count in them.
void add_agreement(Session session, const BenchOptions& options, Context& context, Table& table, Json& json) {
  std::vector<float> logits;
  {
    Session last = std::move(session);
    const std::span<const float> made = last.run(last.slots()[0]);
    logits.assign(made.begin(), made.end());
  }
  const std::optional<Agreement> found = against_f32(logits, options, context);
  if (!found) return;
  table.add({"largest difference from f32's logits", percent(found->difference) + " of the largest"});
  table.add({"images with the same class as in f32", percent(found->same_top1)});
  json["against_f32"] = {{"difference", found->difference}, {"same_top1", found->same_top1}};
}

void bench(const BenchOptions& options) {
  const double fail_above = parse_fail_above(options.fail_above);
  check_report_paths("--report", options.report);
  Paths paths;
  paths.reads("--model", options.model).reads("--baseline", options.baseline).writes("--action-json", options.action_json);
  for (const std::string& path : options.report) paths.writes("--report", path);
  paths.check();
  Context context(options.common);
  SessionOptions session_options = context.session_options(options.batch);
  session_options.micro_batch = options.micro_batch;
  session_options.kernels = kernel_choice(options.kernels);
  const BenchConditions conditions{processor_name(),
                                   usable_cores(),
                                   to_string(session_options.device),
                                   std::string(name_of(session_options.precision)),
                                   options.batch,
                                   used_threads(options.common.threads)};
  const bool from_file = is_json_file(options.baseline);
  std::vector<double> baseline_ms;
  if (from_file) baseline_ms = read_baseline(options.baseline, conditions);
  Session session(load_model(options.model, context.memory()), session_options);
  note_kernels(context.output(), session.program());
  std::optional<Session> in_turns;
  if (!options.baseline.empty() && !from_file)
    in_turns.emplace(load_model(options.baseline, context.memory()), session_options);
  const Measurement measured = measure(session, in_turns ? &*in_turns : nullptr, options);
  if (in_turns) baseline_ms = measured.baseline_ms;
  const std::vector<double>& samples = measured.samples_ms;
  const double total_ms = std::accumulate(samples.begin(), samples.end(), 0.0);
  const double rate = 1e3 * static_cast<double>(options.batch) * static_cast<double>(samples.size()) / total_ms;
  const Latency latency = latency_of(samples);
  const Tail tail = tail_of(samples);
  const SessionMemory memory = session.memory();
  Table table({options.model, ""});
  table.add({"images/s", decimal(rate, 1)});
  table.add({"latency of a batch of " + std::to_string(options.batch) + ": median", decimal(latency.p50, 3) + " ms"});
  table.add({"  10 to 90 % of the runs", decimal(latency.p10, 3) + " to " + decimal(latency.p90, 3) + " ms"});
  table.add({"  99 % of the runs, and the slowest", "up to " + decimal(tail.p99, 3) + " and " + decimal(tail.max, 3) + " ms"});
  table.add({"runs, after " + std::to_string(options.warm_up) + " warm-up runs",
             with_commas(static_cast<int64_t>(samples.size())) + " in " + decimal(total_ms / 1e3, 1) + " s"});
  table.add({"device", to_string(session.options().device) + " in " + std::string(name_of(session.options().precision)) +
                           threads_text(used_threads(options.common.threads), session.options().device)});
  table.add({"peak RSS of the process", megabytes(context.peak_rss_bytes())});
  table.add({"  including weights", megabytes(memory.weights_bytes)});
  table.add({"  including arena (activations, workspace)", megabytes(memory.arena_bytes)});
  Json json = {{"command", "bench"},
               {"model", options.model},
               {"device", to_string(session.options().device)},
               {"precision", name_of(session.options().precision)},
               {"batch", options.batch},
               {"micro_batch", session.program().micro_batch},
               {"threads", used_threads(options.common.threads)},
               {"kernels", options.kernels},
               {"images_per_second", rate},
               {"latency_ms", latency_json(latency)},
               {"runs", samples.size()},
               {"warm_up", options.warm_up},
               {"other_busy_cores", measured.other_cores ? Json(*measured.other_cores) : Json()},
               {"peak_rss_bytes", context.peak_rss_bytes()},
               {"address_space_bytes", process_memory().address_space_bytes},
               {"pool_bytes", context.pool().figures().reserved_bytes},
               {"tensors_peak_bytes", context.tracker().figures().peak_bytes},
               {"session_peak_bytes", context.session_tracker().figures().peak_bytes},
               {"memory", memory_json(memory)}};
  json["latency_ms"]["p99"] = tail.p99;
  json["latency_ms"]["max"] = tail.max;
  json["latency_ms"]["mean"] = tail.mean;
  json["conditions"] = conditions_json(conditions);
  json["block_ms"] = measured.block_ms;
  std::optional<Slowdown> slower;
  if (!baseline_ms.empty()) {
    slower = slowdown(measured.block_ms, baseline_ms, in_turns.has_value());
    json["baseline"] = slowdown_json(*slower);
  }
  if (!options.action_json.empty()) {
    write_whole_file(options.action_json,
                     action_json(options.model, measured.block_ms, context.peak_rss_bytes(), conditions).dump(2) + "\n");
  }
  if (session_options.precision != Precision::kF32) add_agreement(std::move(session), options, context, table, json);
  context.output().result(table.text() + mean_text(tail, latency.p50) +
                          other_work_text(measured.other_cores, options.common.threads, session_options.device) +
                          (slower ? slowdown_text(*slower, options.baseline) : ""));
  ReportRequest request;
  request.model = options.model;
  if (in_turns) request.beside = options.baseline;
  report_on(std::move(request), options.report, context);
  context.output().json(json);
  if (slower) check_slowdown(*slower, fail_above, options.baseline);
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure steady throughput, latency and memory of a model");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--batch", options->batch, "Images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
  command->add_option("--micro-batch", options->micro_batch, "Images per micro-batch (a part of a batch); 0 = chosen by elek")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "Seconds to measure; at least five runs")
      ->check(seconds_range())
      ->capture_default_str();
  command->add_option("--warm-up", options->warm_up, "Warm-up runs before that, not timed")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  auto* baseline = command->add_option(
      "--baseline", options->baseline,
      "Compare with this: the --json output of an earlier elek bench on this machine, or a model to run in turns");
  command
      ->add_option("--fail-above", options->fail_above,
                   "Exit with 6 if slower than the baseline by more than this, and surely slower")
      ->needs(baseline)
      ->capture_default_str();
  command->add_option("--action-json", options->action_json,
                      "Write latency and memory for actions that draw benchmarks over time (customSmallerIsBetter)");
  add_report_option(*command, options->report);
  add_kernels(*command, options->kernels);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n  elek bench --model net.safetensors\n  elek bench --model net.safetensors --batch 16 --threads 2 --json\n"
      "  elek bench --model net.safetensors --precision bf16       (also compares the logits with f32)\n"
      "  elek bench --model new.safetensors --baseline old.safetensors --fail-above 3%");
  command->callback([&run, options] { run = [options] { bench(*options); }; });
}

}  // namespace elek::cli
