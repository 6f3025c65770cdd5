// SPDX-License-Identifier: Apache-2.0
// elek profile: the time of each step of a run, beside the machine's limits, which are measured in the same call. Whole runs
// and runs with every step timed alternate, so the table can be compared with an undisturbed run.
// Tests: tests/cli/profile_test.cpp
#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/latency.h"
#include "cli/other_work.h"
#include "cli/profile_beside.h"
#include "cli/timing.h"
#include "core/error.h"
#include "engine/beside.h"
#include "engine/estimate.h"
#include "engine/step_rounds.h"
#include "models/model_file.h"
#include "plan/program.h"
#include "prune/score.h"

namespace elek::cli {
namespace {

struct ProfileOptions {
  Common common;
  std::string model;
  std::string statistics = "off";
  std::string kernels = "rule";
  int64_t batch = 1;
  int64_t micro_batch = 0;
  double seconds = 3;
  bool why = false;
  std::string beside;
};

double total_us(const std::vector<StepRow>& rows) {
  double total = 0;
  for (const StepRow& row : rows) total += row.us;
  return total;
}

std::string figures_or_dash(double value, int digits) { return value > 0 ? decimal(value, digits) : "-"; }

std::vector<std::string> cells(const std::string& name, const std::string& kernel, const StepRow& row, double all_us) {
  constexpr size_t kNameWidth = 21, kKernelWidth = 21;
  const std::string roof = row.roof.bound == Bound::kNothing
                               ? "-"
                               : std::string(name_of(row.roof.bound)) + " " + decimal(100 * row.share_of_peak(), 0) + " %";
  return {fit(name, kNameWidth),
          fit(kernel, kKernelWidth),
          decimal(row.us / 1e3, 3),
          decimal(100 * row.us / all_us, 1),
          figures_or_dash(row.work.flops / 1e9, 3),
          figures_or_dash(row.flops_per_second() / 1e9, 1),
          figures_or_dash(row.work.bytes() / 1e6, 2),
          roof};
}

std::string layers_text(const std::vector<StepRow>& rows) {
  const double all = total_us(rows);
  Table table({"step", "kernel", "ms", "% time", "GFLOP", "GFLOP/s", "MB", "bound, of peak"});
  StepRow total;
  for (const StepRow& row : rows) {
    table.add(cells(row.step->node.node.name, short_kernel(row.step->kernel), row, all));
    total.us += row.us;
    total.work.flops += row.work.flops;
    total.work.activation_bytes += row.work.bytes();
    total.roof.us += row.roof.us;
  }
  table.add_rule();
  std::vector<std::string> last = cells("all steps", "", total, all);
  last.back() = decimal(100 * total.share_of_peak(), 0) + " %";
  table.add(std::move(last));
  return table.text();
}

std::string kernels_text(const std::vector<StepRow>& rows) {
  struct Sum {
    int64_t steps = 0;
    double us = 0, flops = 0, roof_us = 0;
  };
  std::map<std::string, Sum> sums;
  for (const StepRow& row : rows) {
    Sum& sum = sums[short_kernel(row.step->kernel)];
    sum.steps += 1;
    sum.us += row.us;
    sum.flops += row.work.flops;
    sum.roof_us += row.roof.us;
  }
  std::vector<std::pair<std::string, Sum>> order(sums.begin(), sums.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second.us > b.second.us; });
  const double all = total_us(rows);
  Table table({"by kernel", "steps", "ms", "% time", "GFLOP/s", "of peak"});
  for (const auto& [kernel, sum] : order) {
    table.add({fit(kernel, 40), std::to_string(sum.steps), decimal(sum.us / 1e3, 3), decimal(100 * sum.us / all, 1),
               figures_or_dash(sum.flops / sum.us / 1e3, 1), percent(sum.us > 0 ? sum.roof_us / sum.us : 0, 0)});
  }
  return table.text();
}

std::string why_text(const std::vector<StepRow>& rows) {
  std::string text;
  for (const StepRow& row : rows) {
    text += row.step->node.node.name + ": " + row.step->kernel + "\n";
    if (!row.step->choice.empty()) text += "  " + row.step->choice + "\n";
  }
  return text;
}

/// A power-of-two size as text.
std::string set_size(size_t bytes) {
  constexpr size_t kMiB = size_t{1} << 20;
  return bytes < kMiB ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes / kMiB) + " MiB";
}

std::string machine_text(const Peaks& peaks, const Session& session) {
  Table table({"GB/s, by size of the data", "copied", "read"});
  for (const Bandwidth& b : peaks.bandwidths) {
    table.add({set_size(b.set_bytes), decimal(b.copy / 1e9, 0), decimal(b.read / 1e9, 0)});
  }
  return to_string(session.options().device) + " in " + std::string(name_of(session.options().precision)) +
         ", measured in this call: " + decimal(peaks.flops / 1e9, 0) + " GFLOP/s" +
         (peaks.passes > 0 ? ", a cache line from core to core in " + decimal(1e9 / peaks.passes, 0) + " ns" : "") + "\n" +
         table.text();
}

Json peaks_json(const Peaks& peaks) {
  Json bandwidths = Json::array();
  for (const Bandwidth& b : peaks.bandwidths) {
    bandwidths.push_back({{"set_bytes", b.set_bytes}, {"copy_bytes_per_second", b.copy}, {"read_bytes_per_second", b.read}});
  }
  return {{"flops_per_second", peaks.flops},
          {"core_to_core_ns", peaks.passes > 0 ? Json(1e9 / peaks.passes) : Json()},
          {"bandwidths", bandwidths}};
}

Json shape_json(const Program& program, int32_t tensor) {
  if (tensor < 0) return nullptr;
  const ImageShape& s = program.tensors[static_cast<size_t>(tensor)].shape;
  return {s.channels, s.height, s.width};
}

Json steps_json(const std::vector<StepRow>& rows, const Program& program) {
  const double all = total_us(rows);
  Json steps = Json::array();
  for (const StepRow& row : rows) {
    steps.push_back({{"name", row.step->node.node.name},
                     {"op", op_name(row.step->node.node)},
                     {"kernel", row.step->kernel},
                     {"choice", row.step->choice},
                     {"input", shape_json(program, row.step->input)},
                     {"output", shape_json(program, row.step->output)},
                     {"watched", row.step->observed},
                     {"time_ms", row.us / 1e3},
                     {"time_share", row.us / all},
                     {"flops", row.work.flops},
                     {"kernel_flops", row.work.kernel_flops},
                     {"flops_per_second", row.flops_per_second()},
                     {"activation_bytes", row.work.activation_bytes},
                     {"weight_bytes", row.work.weight_bytes},
                     {"bound", row.roof.bound == Bound::kNothing ? Json() : Json(name_of(row.roof.bound))},
                     {"roof_ms", row.roof.us / 1e3},
                     {"share_of_peak", row.share_of_peak()}});
  }
  return steps;
}

void report(const ProfileOptions& options, const Context& context, const Session& session, const StepMedians& measured,
            const Peaks& peaks, std::optional<double> other_cores) {
  const std::vector<StepRow> rows = rows_of(session, measured, peaks);
  const Latency run = latency_of(measured.runs_ms);
  const Output& out = context.output();
  out.result(layers_text(rows) + "\n" + kernels_text(rows) + "\n");
  if (options.why) out.result(why_text(rows) + "\n");
  out.result("A run of " + std::to_string(options.batch) + (options.batch == 1 ? " image" : " images") + ": " +
             decimal(run.p50, 3) + " ms (10 to 90 %: " + decimal(run.p10, 3) + " to " + decimal(run.p90, 3) + ", " +
             with_commas(std::ssize(measured.runs_ms)) +
             " runs); steps one by one: " + decimal((total_us(rows) + measured.rest_us) / 1e3, 3) + " ms.\n");
  out.result(machine_text(peaks, session));
  out.result(
      "\nGFLOP: two operations per multiply-add of the definition. MB: bytes to read and write, each once.\n"
      "Bound: what limits the step at best. Of peak: the shortest possible time divided by the measured\n"
      "time; Winograd counts only the multiply-adds that it does. More than 100 %: the caches, or in bf16\n"
      "the kernel, were faster than when the peak was measured.\n" +
      other_work_text(other_cores, options.common.threads, session.options().device));
  out.json({{"command", "profile"},
            {"model", options.model},
            {"device", to_string(session.options().device)},
            {"precision", name_of(session.options().precision)},
            {"batch", options.batch},
            {"micro_batch", session.program().micro_batch},
            {"threads", used_threads(options.common.threads)},
            {"statistics", options.statistics == "on"},
            {"kernels", options.kernels},
            {"runs", measured.runs_ms.size()},
            {"other_busy_cores", other_cores ? Json(*other_cores) : Json()},
            {"latency_ms", latency_json(run)},
            {"steps_ms", total_us(rows) / 1e3},
            {"rest_ms", measured.rest_us / 1e3},
            {"peaks", peaks_json(peaks)},
            {"steps", steps_json(rows, session.program())},
            {"memory", memory_json(session.memory())}});
}

Beside measured_beside(Session& dense, Session& pruned, const ProfileOptions& options, const Peaks& peaks) {
  try {
    return profile_beside(dense, pruned, options.seconds, options.common.seed, peaks);
  } catch (const InputError& error) {
    throw InputError("--beside " + options.beside + ": " + error.what());
  }
}

void profile(const ProfileOptions& options) {
  Context context(options.common);
  Model model = load_model(options.model, context.memory());
  SessionOptions session_options = context.session_options(options.batch);
  session_options.micro_batch = options.micro_batch;
  session_options.kernels = kernel_choice(options.kernels);
  if (options.statistics == "on") session_options.probes = probes_for(find_criterion("std-consumer"), model.graph);
  std::optional<Model> pruned;
  if (!options.beside.empty()) {
    pruned = load_model(options.beside, context.memory());
    try {
      check_beside(model.graph, pruned->graph);
    } catch (const UsageError& error) {
      throw UsageError("--beside " + options.beside + ": " + error.what() +
                       "; give the dense network as --model and its pruned form as --beside");
    }
  }
  const OtherWork rest_of_machine;
  const Peaks peaks = measure_peaks(session_options);
  Session session(std::move(model), session_options);
  note_kernels(context.output(), session.program());
  if (pruned) {
    if (options.statistics == "on") session_options.probes = probes_for(find_criterion("std-consumer"), pruned->graph);
    Session second(std::move(*pruned), session_options);
    const Beside beside = measured_beside(session, second, options, peaks);
    const std::optional<double> other_cores = rest_of_machine.cores();
    context.output().result(beside_text(beside) + other_work_text(other_cores, options.common.threads, session_options.device));
    Json json = beside_json(beside);
    json.update({{"command", "profile"},
                 {"model", options.model},
                 {"beside", options.beside},
                 {"batch", options.batch},
                 {"threads", used_threads(options.common.threads)},
                 {"statistics", options.statistics == "on"},
                 {"kernels", options.kernels},
                 {"other_busy_cores", other_cores ? Json(*other_cores) : Json()},
                 {"peaks", peaks_json(peaks)}});
    return context.output().json(json);
  }
  StepRounds rounds(session, options.common.seed);
  for (const EnoughRounds enough(options.seconds); !enough(rounds.count());) rounds.take();
  report(options, context, session, rounds.medians(), peaks, rest_of_machine.cores());
}

}  // namespace

void add_profile(CLI::App& app, Run& run) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App* command =
      app.add_subcommand("profile", "Show where the time goes: time, work, kernel and share of the peak of each step");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--batch", options->batch, "Images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
  command->add_option("--micro-batch", options->micro_batch, "Images per micro-batch (a part of a batch); 0 = chosen by elek")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_option("--statistics", options->statistics, "on: watch what the criterion std-consumer needs")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "Seconds to measure, after three warm-up runs")
      ->check(seconds_range())
      ->capture_default_str();
  add_kernels(*command, options->kernels);
  CLI::Option* beside = command->add_option(
      "--beside", options->beside,
      "A pruned form of the model: shows the times of both layer by layer, and the speed-up that work and bytes allow");
  command->add_flag("--why", options->why, "Show the full name of each step's kernel, and why it was chosen")->excludes(beside);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek profile --model net.safetensors\n"
      "  elek profile --model net.safetensors --batch 16 --statistics on --why\n"
      "  elek profile --model dense.safetensors --beside small.safetensors --batch 16\n"
      "  elek profile --model net.safetensors --json > profile.json");
  command->callback([&run, options] { run = [options] { profile(*options); }; });
}

}  // namespace elek::cli
