// SPDX-License-Identifier: Apache-2.0
// elek bench: steady throughput and latency of one model on random pixels in memory, without decoding and without disk. Latency
// is the time of one session.run() of a whole batch. For another precision than f32 it also shows how far the logits are from
// f32's on the same pixels. Comparisons with other programs are in bench/. Tests: tests/cli/bench_test.cpp,
// tests/cli/flow_test.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/latency.h"
#include "cli/other_work.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/memory/process_memory.h"
#include "core/percentile.h"
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
};

struct Measurement {
  std::vector<double> samples_ms;
  std::optional<double> other_cores;
};

Measurement measure(Session& session, const BenchOptions& options) {
  fill_with_random_pixels(session.slots()[0], options.common.seed);
  for (int i = 0; i < options.warm_up; ++i) (void)session.run(session.slots()[0]);
  Measurement made;
  const OtherWork other;
  made.samples_ms = time_runs(session, options.seconds);
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
  Context context(options.common);
  Model model = load_model(options.model, context.memory());
  SessionOptions session_options = context.session_options(options.batch);
  session_options.micro_batch = options.micro_batch;
  session_options.kernels = kernel_choice(options.kernels);
  Session session(std::move(model), session_options);
  note_kernels(context.output(), session.program());
  const Measurement measured = measure(session, options);
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
  if (session_options.precision != Precision::kF32) add_agreement(std::move(session), options, context, table, json);
  context.output().result(table.text() + mean_text(tail, latency.p50) +
                          other_work_text(measured.other_cores, options.common.threads, session_options.device));
  context.output().json(json);
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
  add_kernels(*command, options->kernels);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n  elek bench --model net.safetensors\n  elek bench --model net.safetensors --batch 16 --threads 2 --json\n"
      "  elek bench --model net.safetensors --precision bf16       (also compares the logits with f32)");
  command->callback([&run, options] { run = [options] { bench(*options); }; });
}

}  // namespace elek::cli
