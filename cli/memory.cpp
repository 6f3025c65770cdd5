// SPDX-License-Identifier: Apache-2.0
// elek memory: the memory of a session without running it, the memory map, the largest batch under a limit, and the allocator
// lab and lessons of docs/memory.md. Tests: tests/cli/memory_test.cpp
#include "cli/memory.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "cli/commands.h"
#include "cli/memory_course.h"
#include "cli/memory_pictures.h"
#include "cli/memory_trace.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "engine/estimate.h"
#include "engine/largest_batch.h"
#include "graph/passes.h"
#include "lab/trace_file.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct MemoryOptions {
  Common common;
  std::string model;
  std::string arch;
  std::string show;
  PictureOptions pictures;
  TraceOptions traces;
  std::vector<std::string> check_words;
  bool teaching = false;
  int64_t batch = 1;
  int64_t micro_batch = 0;
  bool watch = false;
  bool lab = false;
  bool max_batch = false;
  bool measure = false;
};

Model model_of(const MemoryOptions& options, Context& context) {
  if (!options.model.empty()) return load_model(options.model, context.memory());
  Model model;
  model.graph = build_resnet(resnet_spec(options.arch));
  model.preprocessing = default_preprocessing(model.graph.input_shape().channels);
  return model;
}

SessionOptions session_options(const MemoryOptions& options, Context& context, const Model& model) {
  SessionOptions made = context.session_options(options.batch);
  made.micro_batch = options.micro_batch;
  if (options.teaching) set_teaching(made);
  if (options.watch) {
    for (const FusedNode& step : fuse(model.graph).steps) {
      if (step.node.is<Conv2dAttrs>()) made.probes.values[model.graph.node(step.output).name] = kActivity;
    }
  }
  return made;
}

std::string title_of(const std::string& name, const MemoryOptions& options, const Program& program) {
  return std::filesystem::path(name).stem().string() + ", batch " + std::to_string(program.batch) + " in micro-batches of " +
         std::to_string(program.micro_batch) + ", " + options.common.precision;
}

std::string orders_text(double orders) {  // beyond 2^53 a double cannot count in ones
  return orders < 0x1p53 ? with_commas(static_cast<int64_t>(orders)) : scientific(orders);
}

Json report(const Output& output, const std::string& name, const SessionEstimate& session) {
  const SessionMemory& m = session.memory;
  const size_t total = m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes;
  Table table({name + ", batch " + std::to_string(session.program.batch) + " in micro-batches of " +
                   std::to_string(session.program.micro_batch),
               "MB", "bytes"});
  const auto row = [&](const std::string& what, size_t bytes) {
    table.add({what, decimal(static_cast<double>(bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))});
  };
  row("weights", m.weights_bytes);
  row("arena (activations and workspace)", m.arena_bytes);
  row("statistics", m.statistics_bytes);
  row("staging (pixels, labels, logits)", m.staging_bytes);
  table.add_rule();
  row("session", total);
  table.add_rule();
  const double orders = session.plan.orders;
  row("lower bound of the arena" + (orders > 1 ? " (smallest of " + orders_text(orders) + " orders)" : std::string()),
      m.lower_bound_bytes);
  row("  activations alone", m.activations_bytes);
  row("  largest workspace", m.workspace_bytes);
  row("temporary, while weights are packed", session.packing_bytes);
  output.result(table.text());
  Json json = {{"batch", session.program.batch}, {"micro_batch", session.program.micro_batch}};
  json.update(memory_json(m));
  json["session_bytes"] = total;
  json["packing_bytes"] = session.packing_bytes;
  json["orders"] = orders;
  return json;
}

/// Prints who holds which part of the system's figure. What was never written has no pages and is held by nobody.
void print_account(const Output& output, const Account& a, const std::string& where, const std::string& library,
                   const std::string& system) {
  Table table({where, "MB", "bytes"});
  const auto row = [&](const std::string& what, size_t bytes) {
    table.add({what, decimal(static_cast<double>(bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))});
  };
  for (size_t use = 0; use < kUses; ++use) {
    row(std::string(name_of(static_cast<Use>(use))), a.uses[use] - a.uses_untouched[use]);
  }
  row("pool: free bytes and rounding", a.pool_written_bytes());
  row(library, a.library_bytes);
  row("the rest: heap, stacks, handles", a.rest_bytes);
  table.add_rule();
  row(system, a.system_bytes);
  if (a.untouched_bytes > 0) {
    table.add_rule();
    row("reserved, but never written", a.untouched_bytes);
  }
  output.result("\n" + table.text());
}

Json pool_json(const Pool& pool) {
  const Pool::Figures f = pool.figures();
  return {{"live_bytes", f.live_bytes},
          {"used_bytes", f.used_bytes},
          {"reserved_bytes", f.reserved_bytes},
          {"peak_live_bytes", f.peak_live_bytes},
          {"peak_reserved_bytes", f.peak_reserved_bytes},
          {"largest_hole_bytes", f.largest_hole_bytes},
          {"internal_fragmentation", f.internal_fragmentation()},
          {"external_fragmentation", f.external_fragmentation()},
          {"upstream_calls", f.upstream_allocations + f.upstream_deallocations}};
}

void run_black_images(Session& session) {
  Slot& slot = session.slots().front();
  std::fill_n(slot.pixels, slot.capacity * slot.shape.elements(), uint8_t{0});
  slot.count = slot.capacity;
  (void)session.run(slot);
}

/// Builds the session, runs one batch of black images, and compares the bytes that each part holds with the system's figure.
Json measure(Context& context, const MemoryOptions& options, const Model& model) {
  Session session(model, session_options(options, context, model));
  run_black_images(session);
  const Account a = context.account();
  print_account(context.output(), a, "measured after a run", "program and libraries", "resident (from the system)");
  Json json = account_json(a);
  json["pool"] = pool_json(context.pool());
  if (const std::optional<Account> device = context.device_account()) {
    print_account(context.output(), *device, "on " + to_string(context.device()), "in use before this process",
                  "in use (from the driver)");
  }
  return json;
}

Json solve(Context& context, const MemoryOptions& options, const Model& model, const std::string& name) {
  const size_t limit = parse_bytes("--memory-limit", options.common.memory_limit);
  const std::vector<Tracker::Event> loaded = context.session_tracker().events();  // of what shares the limit
  const LargestBatch found = largest_batch(model, session_options(options, context, model), loaded, limit, command_pool(limit));
  context.output().result("largest batch under " + options.common.memory_limit + ": " + std::to_string(found.batch) +
                          " in micro-batches of " + std::to_string(found.micro_batch) + "\n");
  Json json = report(context.output(), name, found.session);
  json["max_batch"] = found.batch;
  json["limit_bytes"] = limit;
  json["model_bytes"] = context.tracker().figures().live_bytes;
  return json;
}

Json show(const Output& output, const std::string& what) {
  if (what == "out-of-memory") return show_out_of_memory(output);
  if (what == "fragmentation") return show_fragmentation(output);
  return show_stream_race(output);
}

/// Everything that can be wrong with the options alone: before a network is loaded or anything is printed.
void check(const MemoryOptions& options) {
  check(options.pictures, !options.traces.placement.empty() || !options.traces.write.empty());
  check(options.traces);
  Paths()
      .reads("--model", options.model)
      .reads("--replay", options.traces.replay)
      .reads("--placement", options.traces.placement)
      .writes("--map", options.pictures.map)
      .writes("--html", options.pictures.html)
      .writes("--plot", options.pictures.plot)
      .writes("--write-trace", options.traces.write)
      .writes("--trace", options.traces.record)
      .check();
  if (!options.traces.replay.empty()) {
    if (!options.model.empty() || !options.arch.empty() || options.measure || options.max_batch || options.watch ||
        options.pictures.no_workspace || !options.pictures.batches.empty() || !options.pictures.threads.empty() ||
        options.teaching || !options.traces.record.empty()) {
      throw UsageError(
          "--replay takes --lab, --steps, --map, --html, --placement and --write-trace; the others need a network");
    }
    return;
  }
  if (options.model.empty() == options.arch.empty())
    throw UsageError("memory needs one of --model FILE, --arch NAME and --replay TRACE");
  if (options.teaching && (options.measure || options.max_batch || options.lab || !options.traces.record.empty() ||
                           options.common.precision != "f32")) {
    throw UsageError("--teaching plans in f32 and runs nothing; remove --measure, --max-batch, --lab, --trace and --precision");
  }
  if (!options.traces.record.empty() && options.model.empty()) {
    throw UsageError("--trace runs the network, so it needs weights; use --model FILE instead of --arch");
  }
  if (options.measure && options.model.empty()) {
    throw UsageError("--measure runs the network, so it needs weights; use --model FILE instead of --arch");
  }
  if (options.max_batch && options.common.memory_limit.empty()) {
    throw UsageError("--max-batch needs a limit; add --memory-limit, for example --memory-limit 200MB");
  }
  if (options.max_batch && (options.measure || options.lab || options.pictures.any() || !options.traces.placement.empty() ||
                            !options.traces.write.empty() || !options.traces.record.empty())) {
    throw UsageError("--max-batch only looks for a batch; use pictures, --measure and --lab in a second command, with --batch");
  }
}

/// A trace from a file, instead of a network's.
Json replay_file(const Output& output, const MemoryOptions& options) {
  const Trace trace = read_trace(options.traces.replay);
  const std::string name = std::filesystem::path(options.traces.replay).filename().string();
  Json json = {{"command", "memory"}, {"replay", options.traces.replay}, {"blocks_count", trace.blocks.size()}};
  output.result(name + ": " + with_commas(static_cast<int64_t>(trace.blocks.size())) + " blocks, " +
                with_commas(static_cast<int64_t>(trace.events.size())) + " events\n");
  const std::optional<Replay> given = use_trace(output, options.traces, trace, json);
  draw(output, options.pictures, name, trace, given, json);
  if (options.lab || (!options.pictures.any() && !given && options.traces.write.empty())) {
    json["lab"] = Json::array({lab(output, name, trace)});
  }
  return json;
}

void memory(const MemoryOptions& options) {
  Context context(options.common);
  if (!options.check_words.empty()) {
    context.output().json(check_exercise(context.output(), options.check_words));
    return;
  }
  if (!options.show.empty()) {
    if (options.pictures.any() || options.lab || options.measure || options.max_batch) {
      throw UsageError("--show is a lesson of its own; use the other options in a second command, without --show");
    }
    context.output().json(show(context.output(), options.show));
    return;
  }
  check(options);
  if (!options.traces.replay.empty()) {
    context.output().json(replay_file(context.output(), options));
    return;
  }
  const std::string name = options.model.empty() ? options.arch : options.model;
  context.tracker().record_events(true);
  const Model model = model_of(options, context);
  Json json = {{"command", "memory"}, {"model", name}};
  if (options.max_batch) {
    json.update(solve(context, options, model, name));
    context.output().json(json);
    return;
  }
  const SessionOptions wanted = session_options(options, context, model);
  const SessionEstimate session = options.teaching ? teaching_estimate(model, wanted) : estimate_memory(model, wanted);
  json.update(report(context.output(), name, session));
  const auto estimate = [&](const Planned& planned) {
    SessionOptions made = session_options(options, context, model);
    made.batch = planned.batch;
    made.micro_batch = planned.micro_batch;
    if (options.teaching) set_teaching(made);
    if (planned.threads > 0) made.threads = static_cast<int>(planned.threads);
    return options.teaching ? teaching_estimate(model, made) : estimate_memory(model, made);
  };
  const std::optional<Replay> given =
      use_trace(context.output(), options.traces, trace_of(session.program, !options.pictures.no_workspace), json);
  draw(context.output(), options.pictures, title_of(name, options, session.program), session,
       {options.batch, options.micro_batch, 0}, estimate, given, json);
  if (!options.traces.record.empty()) {
    {
      Session recorded(model, session_options(options, context, model));
      run_black_images(recorded);
    }  // its end is recorded too
    write_events(context.output(), options.traces.record, context.session_tracker().events(), json);
  }
  if (options.measure) json["measured"] = measure(context, options, model);
  if (options.lab) {
    Json labs = Json::array();
    labs.push_back(lab(context.output(), "one micro-batch of " + name + ", tensor by tensor", trace_of(session.program)));
    if (!options.model.empty()) {
      const Session bound(model, session_options(options, context, model));
      labs.push_back(lab(context.output(), "loading and binding, as recorded", trace_of(context.tracker().events())));
    }
    labs.push_back(lab(context.output(), "random, 100,000 events", random_trace(options.common.seed, 100'000, 500)));
    json["lab"] = labs;
  }
  context.output().json(json);
}

}  // namespace

void add_memory(CLI::App& app, Run& run) {
  auto options = std::make_shared<MemoryOptions>();
  CLI::App* command = app.add_subcommand("memory", "Show the memory of a session: table, map, largest batch; allocator lab");
  auto* model = command->add_option("--model", options->model, "Model file");
  command->add_option("--arch", options->arch, "A network by name (resnet50), without weights")->excludes(model);
  command->add_option("--batch", options->batch, "Images per batch")
      ->check(CLI::Range(int64_t{1}, kMostBatch))
      ->capture_default_str();
  command->add_option("--micro-batch", options->micro_batch, "Images per micro-batch (a part of a batch); 0 = chosen by elek")
      ->check(CLI::Range(int64_t{0}, kMostBatch))
      ->capture_default_str();
  command->add_flag("--watch", options->watch, "Include the sums of every convolution's output, as coverage takes them");
  add_pictures(*command, options->pictures);
  add_traces(*command, options->traces);
  command->add_flag("--max-batch", options->max_batch, "Find the largest batch that fits under --memory-limit");
  command->add_flag("--measure", options->measure, "Run one batch, and compare the bytes with the system's figure");
  command->add_flag("--lab", options->lab,
                    "Replay the allocations through malloc, a caching allocator, our pool and the arena");
  command->add_option("--show", options->show, "Show a failure on purpose: out-of-memory, fragmentation or stream-race")
      ->check(CLI::IsMember({"out-of-memory", "fragmentation", "stream-race"}));
  command->add_flag("--teaching", options->teaching,
                    "Bytes from the shapes alone, whole batches, no workspace: the same on every machine");
  command->add_option("--check", options->check_words, "Check an answer to an exercise of docs/course: --check 1.1 ANSWER")
      ->expected(2)
      ->type_name("EXERCISE ANSWER");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek memory --arch resnet50 --html map.html\n"
      "  elek memory --model net.safetensors --batch 16 --json\n"
      "  elek memory --model net.safetensors --memory-limit 200MB --max-batch");
  command->callback([&run, options] { run = [options] { memory(*options); }; });
}

}  // namespace elek::cli
