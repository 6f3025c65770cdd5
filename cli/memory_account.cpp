// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_account.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "elek/model.h"
#include "graph/passes.h"

namespace elek::cli {
namespace {

void add_bytes(Table& table, const std::string& what, size_t bytes) {
  table.add({what, decimal(static_cast<double>(bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))});
}

std::string orders_text(double orders) {  // beyond 2^53 a double cannot count in ones
  return orders < 0x1p53 ? with_commas(static_cast<int64_t>(orders)) : scientific(orders);
}

size_t session_bytes(const SessionMemory& m) { return m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes; }

/// Runs one image of a small network, in memory that is gone afterwards.
void run_once(const ResNetSpec& spec, const SessionOptions& like) {
  Pool pool(host_resource());
  Model model;
  model.graph = build_resnet(spec);
  model.parameters = random_parameters(model.graph, 1, pool);
  model.preprocessing = default_preprocessing(model.graph.input_shape().channels);
  SessionOptions options;
  options.device = like.device;
  options.precision = like.precision == Precision::kInt8 ? Precision::kF32 : like.precision;  // this network is not quantised
  options.threads = like.threads;
  options.deterministic = like.deterministic;
  options.memory = &pool;
  if (!like.probes.empty()) {
    for (const FusedNode& step : fuse(model.graph).steps) {
      if (step.node.is<Conv2dAttrs>()) options.probes.values[model.graph.node(step.output).name] = kActivity;
    }
  }
  Session session(std::move(model), options);
  Slot& slot = session.slots().front();
  std::fill_n(slot.pixels, slot.shape.elements(), uint8_t{0});
  slot.count = 1;
  (void)session.run(slot);
}

/// Who holds which part of the system's figure. What was never written has no pages and is held by nobody.
void print_account(const Output& output, const Account& a, const std::string& where, const std::string& library,
                   const std::string& system) {
  Table table({where, "MB", "bytes"});
  for (size_t use = 0; use < kUses; ++use) {
    add_bytes(table, std::string(name_of(static_cast<Use>(use))), a.uses[use] - a.uses_untouched[use]);
  }
  add_bytes(table, "pool: free bytes and rounding", a.pool_written_bytes());
  add_bytes(table, library, a.library_bytes);
  add_bytes(table, "the rest: heap, stacks, handles", a.rest_bytes);
  table.add_rule();
  add_bytes(table, system, a.system_bytes);
  if (a.untouched_bytes > 0) {
    table.add_rule();
    add_bytes(table, "reserved, but never written", a.untouched_bytes);
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

}  // namespace

ProgramBytes program_bytes(const Context& context, const SessionOptions& options, const Graph& graph) {
  const bool image_net =
      std::any_of(graph.nodes().begin(), graph.nodes().end(), [](const Node& n) { return n.is<MaxPoolAttrs>(); });
  if (image_net) {
    ResNetSpec bottlenecks = resnet_spec("resnet50");
    bottlenecks.blocks = {1, 1};
    bottlenecks.widths = {16, 32};
    bottlenecks.classes = 10;
    bottlenecks.input = {3, 64, 64};
    run_once(bottlenecks, options);
  } else {
    run_once(resnet_spec("cifar_resnet8"), options);
  }
  const Account now = context.account();
  return {now.library_bytes, now.rest_bytes};
}

Json foretell(const Output& output, const std::string& name, const Footprint& footprint,
              const std::optional<ProgramBytes>& program) {
  const SessionEstimate& session = footprint.session;
  const SessionMemory& m = session.memory;
  const size_t total = session_bytes(m);
  const size_t packing = std::max(session.packing_bytes, m.arena_bytes);
  Table table({name + ", batch " + std::to_string(session.program.batch) + " in micro-batches of " +
                   std::to_string(session.program.micro_batch),
               "MB", "bytes"});
  const auto row = [&](const std::string& what, size_t bytes) { add_bytes(table, what, bytes); };
  row("weights, packed", m.weights_bytes);
  row("arena (activations and workspace)", m.arena_bytes);
  row("statistics", m.statistics_bytes);
  row("staging (pixels, labels, logits)", m.staging_bytes);
  table.add_rule();
  row("session", total);
  Json json = {{"batch", session.program.batch}, {"micro_batch", session.program.micro_batch}};
  json.update(memory_json(m));
  json["session_bytes"] = total;
  json["packing_bytes"] = session.packing_bytes;
  json["model_bytes"] = footprint.model_bytes;
  json["least_limit_bytes"] = footprint.least_limit_bytes;
  if (program && footprint.fits) {
    const size_t running = program->total() + std::max(footprint.running_bytes, total);
    const size_t peak = std::max(running, program->total() + footprint.binding_bytes);
    row("pool: rounding", footprint.running_bytes - std::min(footprint.running_bytes, total));
    row("program, libraries, heap", program->total());
    table.add_rule();
    row("process, while the session runs", running);
    row("process, at its peak", peak);
    json["process"] = {{"library_bytes", program->library_bytes},
                       {"rest_bytes", program->rest_bytes},
                       {"running_bytes", running},
                       {"peak_bytes", peak}};
  }
  table.add_rule();
  row("model, as read", footprint.model_bytes);
  row(session.packing_bytes > 0 ? "room for packing, then the arena's" : "room for packing: the arena's", packing);
  row("least --memory-limit (model, session, packing)", footprint.least_limit_bytes);
  table.add_rule();
  const double orders = session.plan.orders;
  row("lower bound of the arena" + (orders > 1 ? " (smallest of " + orders_text(orders) + " orders)" : std::string()),
      m.lower_bound_bytes);
  row("  activations alone", m.activations_bytes);
  row("  largest workspace", m.workspace_bytes);
  output.result(table.text());
  json["orders"] = orders;
  return json;
}

OutOfMemory does_not_fit(const Footprint& footprint, size_t limit_bytes) {
  const SessionEstimate& session = footprint.session;
  const SessionMemory& m = session.memory;
  const size_t packing = std::max(session.packing_bytes, m.arena_bytes);
  const size_t sum = footprint.model_bytes + m.weights_bytes + packing + m.statistics_bytes + m.staging_bytes;
  return {"a batch of " + std::to_string(session.program.batch) + " in micro-batches of " +
              std::to_string(session.program.micro_batch) + " does not fit: model " + bytes_text(footprint.model_bytes) +
              " + packed weights " + bytes_text(m.weights_bytes) + " + " + (session.packing_bytes > 0 ? "packing " : "arena ") +
              bytes_text(packing) + " + statistics " + bytes_text(m.statistics_bytes) + " + staging " +
              bytes_text(m.staging_bytes) + " + rounding " +
              bytes_text(footprint.least_limit_bytes - std::min(footprint.least_limit_bytes, sum)) + " = " +
              bytes_text(footprint.least_limit_bytes) + ", the least limit",
          {.requested_bytes = footprint.least_limit_bytes, .limit_bytes = limit_bytes}};
}

void judge(const Output& output, const Footprint& footprint, int64_t micro_batch_without, size_t limit_bytes, Json& json) {
  json["limit"] = {{"limit_bytes", limit_bytes}, {"fits", footprint.fits}};
  if (!footprint.fits) return;
  const int64_t taken = footprint.session.program.micro_batch;
  std::string text = "\nfits under --memory-limit " + bytes_text(limit_bytes);
  if (taken != micro_batch_without) {
    text += ", in micro-batches of " + std::to_string(taken) + " instead of " + std::to_string(micro_batch_without);
  }
  output.result(text + "\n");
  json["limit"]["micro_batch_without"] = micro_batch_without;
}

void run_black_images(Session& session) {
  for (Slot& slot : session.slots()) {
    std::fill_n(slot.pixels, slot.capacity * slot.shape.elements(), uint8_t{0});
    std::fill_n(slot.labels, slot.capacity, 0);
    slot.count = slot.capacity;
    (void)session.run(slot);
  }
}

Json measure(Context& context, const SessionOptions& options, Model model) {
  Session session(std::move(model), options);
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

}  // namespace elek::cli
