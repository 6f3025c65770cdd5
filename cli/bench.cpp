// SPDX-License-Identifier: Apache-2.0
// elek bench: steady throughput and latency of one model on random pixels in memory, without decoding and without disk. Latency
// is the time of one session.run() of a whole batch. For another precision than f32 it also shows how far the logits are from
// f32's on the same pixels. Comparisons with other programs are in bench/. Tests: tests/cli/flow_test.cpp
#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/other_work.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/memory/process_memory.h"
#include "core/runtime.h"
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

constexpr size_t kFewestSamples = 5;

struct Measurement {
  std::vector<double> samples_ms;  // sorted
  double total_ms = 0;
  std::optional<double> other_cores;
};

Measurement measure(Session& session, const BenchOptions& options) {
  using Clock = std::chrono::steady_clock;
  Slot& slot = session.slots()[0];
  fill_with_random_pixels(slot, options.common.seed);
  for (int i = 0; i < options.warm_up; ++i) (void)session.run(slot);
  Measurement made;
  std::vector<double>& samples_ms = made.samples_ms;
  const OtherWork other;
  const Clock::time_point start = Clock::now();
  while (samples_ms.size() < kFewestSamples || std::chrono::duration<double>(Clock::now() - start).count() < options.seconds) {
    throw_if_interrupted();
    const Clock::time_point before = Clock::now();
    (void)session.run(slot);
    samples_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  }
  made.other_cores = other.cores();
  for (const double sample : samples_ms) made.total_ms += sample;
  std::sort(samples_ms.begin(), samples_ms.end());
  return made;
}

/// How far the logits of another precision are from f32's.
struct Agreement {
  double difference = 0;  // the largest, as a share of f32's largest logit
  double same_top1 = 0;   // share of the images whose best class is the same
};

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
    const std::span<const float> want = session.run(slot);
    ELEK_CHECK(want.size() == logits.size(), "bench: " + std::to_string(want.size()) + " logits in f32");
    double most = 0, largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const double off = std::fabs(static_cast<double>(logits[i]) - static_cast<double>(want[i]));
      if (!(off <= most)) most = off;  // a NaN stays
      largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
    }
    const auto best = [classes = static_cast<std::ptrdiff_t>(want.size()) / options.batch](std::span<const float> all,
                                                                                           int64_t n) {
      const auto row = all.begin() + n * classes;
      return std::max_element(row, row + classes) - row;
    };
    int64_t same = 0;
    for (int64_t n = 0; n < options.batch; ++n) same += best(logits, n) == best(want, n) ? 1 : 0;
    return Agreement{most / largest, static_cast<double>(same) / static_cast<double>(options.batch)};
  } catch (const OutOfMemory& error) {
    context.output().note("elek: not compared with f32, because that does not fit: " + error.reason());
    return {};
  }
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
  const std::optional<Agreement> agreement = against_f32(logits, options, context);
  if (!agreement) return;
  table.add({"largest difference from f32's logits", percent(agreement->difference) + " of the largest"});
  table.add({"images with the same class as in f32", percent(agreement->same_top1)});
  json["against_f32"] = {{"difference", agreement->difference}, {"same_top1", agreement->same_top1}};
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
  const double rate = 1e3 * static_cast<double>(options.batch) * static_cast<double>(samples.size()) / measured.total_ms;
  const double p10 = percentile(samples, 0.1);
  const double p50 = percentile(samples, 0.5);
  const double p90 = percentile(samples, 0.9);
  const SessionMemory memory = session.memory();
  Table table({options.model, ""});
  table.add({"images/s", decimal(rate, 1)});
  table.add({"latency of a batch of " + std::to_string(options.batch) + ": median", decimal(p50, 3) + " ms"});
  table.add({"  10 to 90 % of the runs", decimal(p10, 3) + " to " + decimal(p90, 3) + " ms"});
  table.add({"runs, after " + std::to_string(options.warm_up) + " warm-up runs",
             with_commas(static_cast<int64_t>(samples.size())) + " in " + decimal(measured.total_ms / 1e3, 1) + " s"});
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
               {"latency_ms", {{"p10", p10}, {"p50", p50}, {"p90", p90}}},
               {"runs", samples.size()},
               {"warm_up", options.warm_up},
               {"other_busy_cores", measured.other_cores ? Json(*measured.other_cores) : Json()},
               {"peak_rss_bytes", context.peak_rss_bytes()},
               {"address_space_bytes", process_memory().address_space_bytes},
               {"pool_bytes", context.pool().figures().reserved_bytes},
               {"tensors_peak_bytes", context.tracker().figures().peak_bytes},
               {"session_peak_bytes", context.session_tracker().figures().peak_bytes},
               {"memory", memory_json(memory)}};
  if (session_options.precision != Precision::kF32) add_agreement(std::move(session), options, context, table, json);
  context.output().result(table.text() + other_work_text(measured.other_cores, options.common.threads, session_options.device));
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
