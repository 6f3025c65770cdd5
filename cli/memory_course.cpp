// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_course.h"

#include "core/error.h"
#include "elek/model.h"
#include "graph/passes.h"
#include "lab/course.h"
#include "plan/plan.h"

namespace elek::cli {

void set_teaching(SessionOptions& options) {
  options.threads = 2;
  if (options.micro_batch == 0) options.micro_batch = options.batch;
}

SessionEstimate teaching_estimate(const Model& model, const SessionOptions& options) {
  SessionEstimate made = estimate_memory(model, options);
  made.program = teaching_program(std::move(made.program));
  const double orders = made.plan.orders;
  made.plan = plan(made.program);
  made.plan.orders = orders;
  made.memory.arena_bytes = made.plan.arena_bytes;
  made.memory.lower_bound_bytes = made.plan.lower_bound_bytes;
  made.memory.activations_bytes = made.plan.activations_bound_bytes;
  made.memory.workspace_bytes = 0;
  made.packing_bytes = 0;
  // Batch norm is folded, so a layer has its weights and a bias for each output.
  made.memory.weights_bytes = 0;
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    if (spec.shape.rank() < 2) continue;
    made.memory.weights_bytes += static_cast<size_t>(spec.shape.elements() + spec.shape[0]) * sizeof(float);
  }
  for (ProgramStep& step : made.program.steps) step.weights_bytes = 0;  // packed, so they differ between processors
  return made;
}

Json report_teaching(const Output& output, const std::string& name, const SessionEstimate& session) {
  const SessionMemory& m = session.memory;
  Table table({name + ", batch " + std::to_string(session.program.batch) + ", teaching profile", "MB", "bytes"});
  const auto row = [&](const std::string& what, size_t bytes) {
    table.add({what, decimal(static_cast<double>(bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))});
  };
  row("weights", m.weights_bytes);
  row("arena (activations)", m.arena_bytes);
  row("staging (pixels, labels, logits)", m.staging_bytes);
  table.add_rule();
  row("lower bound of the arena", m.lower_bound_bytes);
  output.result(table.text());
  Json json = {{"batch", session.program.batch}, {"micro_batch", session.program.micro_batch}};
  json.update(memory_json(m));
  return json;
}

Json check_exercise(const Output& output, const std::vector<std::string>& words) {
  const auto network = [](int64_t batch) {
    Model model;
    model.graph = build_resnet(resnet_spec("resnet18"));
    model.preprocessing = default_preprocessing(model.graph.input_shape().channels);
    SessionOptions options;
    options.batch = batch;
    set_teaching(options);
    return trace_of(teaching_estimate(model, options).program);
  };
  const Judgement judged = check_answer(words[0], words[1], network);
  if (!judged.right) throw InputError("exercise " + words[0] + ": " + judged.words);
  output.result("exercise " + words[0] + ": " + judged.words + "\n");
  return {{"command", "memory"}, {"exercise", words[0]}, {"right", true}, {"words", judged.words}};
}

}  // namespace elek::cli
