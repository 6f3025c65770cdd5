// SPDX-License-Identifier: Apache-2.0
// elek memory: the memory of a session without running it, the memory map, the largest batch under a limit, and the allocator
// lab and lessons of docs/memory.md. Tests: tests/cli/memory_test.cpp
#include "cli/memory.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/memory_account.h"
#include "cli/memory_course.h"
#include "cli/memory_pictures.h"
#include "cli/memory_trace.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "engine/estimate.h"
#include "engine/footprint.h"
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

/// The memory that sessions will lie in, as loading left it.
struct Loaded {
  std::vector<Tracker::Event> events;
  [[nodiscard]] TensorPool pool() const { return {events, command_pool}; }
};

Loaded loaded_memory(const MemoryOptions& options, Context& context, const Model& model) {
  if (!is_host(context.device())) return {};  // the model is in the host's memory
  if (options.model.empty()) return {loading_events(model.graph)};
  return {context.session_tracker().events()};
}

Json solve(Context& context, const MemoryOptions& options, const Model& model, const std::string& name, const Loaded& loaded,
           size_t limit) {
  SessionOptions session = session_options(options, context, model);
  const LargestBatch found = largest_batch(model, session, loaded.events, limit, command_pool(limit));
  context.output().result("largest batch under " + options.common.memory_limit + ": " + std::to_string(found.batch) +
                          " in micro-batches of " + std::to_string(found.micro_batch) + "\n");
  session.batch = found.batch;
  session.micro_batch = found.micro_batch;
  const std::optional<ProgramBytes> program =
      is_host(context.device()) ? std::optional(program_bytes(context, session, model.graph)) : std::nullopt;
  Json json = foretell(context.output(), name, footprint(model, session, loaded.pool(), limit), program);
  json["max_batch"] = found.batch;
  json["limit_bytes"] = limit;
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
      .writes("--trace", options.common.trace)
      .check();
  if (!options.traces.replay.empty()) {
    if (!options.model.empty() || !options.arch.empty() || options.measure || options.max_batch || options.watch ||
        options.pictures.no_workspace || !options.pictures.batches.empty() || !options.pictures.threads.empty() ||
        options.teaching || !options.common.trace.empty()) {
      throw UsageError(
          "--replay takes --lab, --steps, --map, --html, --placement and --write-trace; the others need a network");
    }
    return;
  }
  if (options.model.empty() == options.arch.empty())
    throw UsageError("memory needs one of --model FILE, --arch NAME and --replay TRACE");
  if (options.teaching && (options.measure || options.max_batch || options.lab || !options.common.trace.empty() ||
                           options.common.precision != "f32")) {
    throw UsageError("--teaching plans in f32 and runs nothing; remove --measure, --max-batch, --lab, --trace and --precision");
  }
  if (!options.common.trace.empty() && options.model.empty()) {
    throw UsageError("--trace runs the network, so it needs weights; use --model FILE instead of --arch");
  }
  if (options.measure && options.model.empty()) {
    throw UsageError("--measure runs the network, so it needs weights; use --model FILE instead of --arch");
  }
  if (options.max_batch && options.common.memory_limit.empty()) {
    throw UsageError("--max-batch needs a limit; add --memory-limit, for example --memory-limit 200MB");
  }
  if (options.max_batch && (options.measure || options.lab || options.pictures.any() || !options.traces.placement.empty() ||
                            !options.traces.write.empty() || !options.common.trace.empty())) {
    throw UsageError("--max-batch only looks for a batch; use pictures, --measure and --lab in a second command, with --batch");
  }
}

/// A trace from a file, instead of a network's.
Json replay_file(const Output& output, const MemoryOptions& options) {
  const Trace trace = read_trace(options.traces.replay);
  const std::string name = std::filesystem::path(options.traces.replay).filename().string();
  Json json = {{"command", "memory"}, {"replay", options.traces.replay}, {"blocks_count", trace.blocks.size()}};
  output.hold();
  output.result(name + ": " + with_commas(static_cast<int64_t>(trace.blocks.size())) + " blocks, " +
                with_commas(static_cast<int64_t>(trace.events.size())) + " events\n");
  const std::optional<Replay> given = use_trace(output, options.traces, trace, json);
  draw(output, options.pictures, name, trace, given, json);
  output.release();
  if (options.lab || (!options.pictures.any() && !given && options.traces.write.empty())) {
    json["lab"] = Json::array({lab(output, name, trace)});
  }
  return json;
}

/// The limit is a question here, so this command itself keeps to none, unless it runs the network.
Common without_limit(const MemoryOptions& options) {
  Common common = options.common;
  if (!options.measure) common.memory_limit.clear();
  return common;
}

/// The plan of the course's profile: a table, pictures and traces of shapes alone.
void teach(Context& context, const MemoryOptions& options, const std::string& name, const Model& model, Json& json) {
  const SessionOptions wanted = session_options(options, context, model);
  const SessionEstimate session = teaching_estimate(model, wanted);
  context.output().hold();
  json.update(report_teaching(context.output(), name, session));
  const std::optional<Replay> given = use_trace(context.output(), options.traces, trace_of(session.program), json);
  const auto estimate = [&](const Planned& other) {
    SessionOptions made = wanted;
    made.batch = other.batch;
    made.micro_batch = other.micro_batch;
    set_teaching(made);
    return teaching_estimate(model, made);
  };
  draw(context.output(), options.pictures, title_of(name, options, session.program), session,
       {options.batch, options.micro_batch, 0}, estimate, given, json);
  context.output().release();
  context.output().json(json);
}

void memory(const MemoryOptions& options) {
  const size_t limit =
      options.common.memory_limit.empty() ? kNoLimit : parse_bytes("--memory-limit", options.common.memory_limit);
  if (!options.common.trace.empty() && !(options.check_words.empty() && options.show.empty())) {
    throw UsageError("--trace records a session of --model; leave out --check and --show");
  }
  Context context(without_limit(options));
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
  Model model = model_of(options, context);
  const Loaded loaded = loaded_memory(options, context, model);
  Json json = {{"command", "memory"}, {"model", name}};
  if (options.max_batch) {
    json.update(solve(context, options, model, name, loaded, limit));
    context.output().json(json);
    return;
  }
  const SessionOptions planned = session_options(options, context, model);
  if (options.teaching) {
    teach(context, options, name, model, json);
    return;
  }
  context.output().hold();
  const Footprint found = footprint(model, planned, loaded.pool(), limit);
  const SessionEstimate& session = found.session;
  const std::optional<ProgramBytes> program =
      is_host(context.device()) ? std::optional(program_bytes(context, planned, model.graph)) : std::nullopt;
  json.update(foretell(context.output(), name, found, program));
  if (limit != kNoLimit) {
    judge(context.output(), found, estimate_memory(model, planned).program.micro_batch, limit, json);
  }
  const auto estimate = [&](const Planned& other) {
    SessionOptions made = session_options(options, context, model);
    made.batch = other.batch;
    made.micro_batch = other.micro_batch;
    if (other.threads > 0) made.threads = static_cast<int>(other.threads);
    return estimate_memory(model, made);
  };
  const std::optional<Replay> given =
      use_trace(context.output(), options.traces, trace_of(session.program, !options.pictures.no_workspace), json);
  draw(context.output(), options.pictures, title_of(name, options, session.program), session,
       {options.batch, options.micro_batch, 0}, estimate, given, json);
  context.output().release();
  if (limit == kNoLimit) {
    json["choices"] = memory_choices(context.output(), model, planned, session, options.measure ? Timing::kRun : Timing::kNone);
  }
  if (!found.fits) {
    context.output().json(json);
    throw does_not_fit(found, limit);
  }
  if (!options.common.trace.empty()) {
    Session recorded(model, planned);
    run_black_images(recorded);
  }
  if (options.lab) {
    Json labs = Json::array();
    labs.push_back(lab(context.output(), "one micro-batch of " + name + ", tensor by tensor", trace_of(session.program)));
    if (!options.model.empty()) {
      const Session bound(model, planned);
      labs.push_back(lab(context.output(), "loading and binding, as recorded", trace_of(context.tracker().events())));
    }
    labs.push_back(lab(context.output(), "random, 100,000 events", random_trace(options.common.seed, 100'000, 500)));
    json["lab"] = labs;
  }
  if (options.measure) json["measured"] = measure(context, planned, std::move(model));
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
  add_trace(*command, options->common, "Load the model, open a session, run a batch, and record");
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
