// SPDX-License-Identifier: Apache-2.0
// Session: fuses, lowers, plans and binds once, and then only runs. The backend decides which kernels run.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include "elek/session.h"

#include <algorithm>
#include <utility>

#include "backends/backend.h"
#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "engine/estimate.h"
#include "engine/profile.h"
#include "plan/order.h"
#include "plan/plan.h"

namespace elek {
namespace {

struct Lowered {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Lowering> lowering;
  MemoryPlan plan;
  std::optional<size_t> next_workspace_bytes;  // SessionEstimate's
};

size_t largest_workspace(const Program& program) {
  size_t largest = 0;
  for (const ProgramStep& step : program.steps) largest = std::max(largest, step.workspace_bytes);
  return largest;
}

std::optional<size_t> next_workspace(const Program& program, size_t limit) {
  const size_t largest = largest_workspace(program);
  if (limit == 0 || largest == 0) return std::nullopt;
  return largest > limit ? 0 : largest / 2;
}

void plan_in_the_best_order(const Model& model, const SessionOptions& options, Lowered& made) {
  made.plan = plan(made.lowering->program());
  if (options.keep_values || options.batch_moments) return;  // every value keeps its own storage: no order needs less
  const StepOrder found = search_order(made.lowering->program());
  if (!found.nodes.empty()) {
    std::unique_ptr<Lowering> other = made.backend->lower(model, fuse(model.graph, found.nodes), options);
    MemoryPlan planned = plan(other->program());
    if (planned.arena_bytes < made.plan.arena_bytes) {  // check again, because the backend may have chosen other kernels
      made.lowering = std::move(other);
      made.plan = std::move(planned);
    }
  }
  made.plan.orders = found.orders;
}

/// Checks and completes the options, lowers and plans.
Lowered lower_and_plan(const Model& model, SessionOptions& options, size_t most_workspace) {
  check_precision(options.device, options.precision);
  Lowered made;
  made.backend = backend_of(options.device.kind).make(options.device);
  const bool chooses_workspace = made.backend->limit_workspace(most_workspace);
  if (options.probes.tap == Tap::kConv) options.batch_norm = BatchNorm::kApart;  // folded, z would not be stored
  made.lowering = made.backend->lower(model, fuse(model.graph), options);
  plan_in_the_best_order(model, options, made);
  if (chooses_workspace) made.next_workspace_bytes = next_workspace(made.lowering->program(), most_workspace);
  return made;
}

SessionMemory memory_of(const BoundMemory& bound, const Program& program, const MemoryPlan& plan) {
  SessionMemory m;
  m.weights_bytes = bound.weights_bytes;
  m.statistics_bytes = bound.statistics_bytes;
  m.staging_bytes = bound.staging_bytes;
  m.arena_bytes = plan.arena_bytes;
  m.lower_bound_bytes = plan.lower_bound_bytes;
  m.activations_bytes = plan.activations_bound_bytes;
  m.workspace_bytes = largest_workspace(program);
  return m;
}

/// The error for refused memory, with the plan that was refused: it shows where the bytes would have gone.
OutOfMemory refused(const OutOfMemory& error, const Lowered& lowered) {
  const BoundMemory bound = lowered.lowering->memory();
  const Program& program = lowered.lowering->program();
  return {"a session of batch " + std::to_string(program.batch) + " in micro-batches of " +
              std::to_string(program.micro_batch) + " does not fit (plan: weights " + bytes_text(bound.weights_bytes) +
              ", arena " + bytes_text(lowered.plan.arena_bytes) + ", statistics " + bytes_text(bound.statistics_bytes) +
              ", staging " + bytes_text(bound.staging_bytes) + ", packing " + bytes_text(bound.packing_bytes) +
              "): " + error.reason(),
          error.figures()};
}

}  // namespace

MemoryResource& default_memory(const Device& device) { return backend_of(device.kind).memory(device); }
StreamOrder& stream_order(const Device& device) { return backend_of(device.kind).stream_order(device); }
bool built_with(DeviceKind kind) { return backend_of(kind).built_in; }
bool starts_from_values(const Device& device) { return backend_of(device.kind).starts_from_values; }

std::string why_not(const Device& device) {
  try {
    (void)backend_of(device.kind).make(device);
    return {};
  } catch (const DeviceError& error) {
    return error.what();
  }
}

std::string why_not(const Device& device, Precision precision) { return backend_of(device.kind).supports(precision).why_not; }

void check_precision(const Device& device, Precision precision) {
  const Support support = backend_of(device.kind).supports(precision);
  const std::string why = "precision " + std::string(name_of(precision)) + ": " + support.why_not;
  if (support.answer == Support::Answer::kNever) throw Hinted<UsageError>(Hint::kCpuPrecision, why);
  if (support.answer == Support::Answer::kNotHere) throw Hinted<DeviceError>(Hint::kUseF32, why);
}

struct Session::Impl {
  Model model;
  SessionOptions options;
  uint64_t model_hash = 0;
  std::unique_ptr<Backend> backend;
  Program program;
  MemoryPlan plan;
  std::unique_ptr<Executable> executable;
  int under_way = 0;  // batches begun and not ended

  [[nodiscard]] Executable& at_rest() const {
    ELEK_CHECK(under_way == 0, "a batch is under way; call end() first");
    return *executable;
  }
};

Session::Session(Model model, SessionOptions options) : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  i.model = std::move(model);
  i.options = std::move(options);
  if (!i.options.probes.empty()) i.model_hash = hash(i.model);  // takes 0.1 s for 100 MB; only statistics need it
  const bool may_divide = i.options.micro_batch == 0 && !i.options.batch_moments && !i.options.keep_values;
  const size_t parameters = i.model.parameters.size();
  size_t most_workspace = SIZE_MAX;
  for (SessionOptions tried = i.options;;) {
    Lowered lowered;
    try {
      lowered = lower_and_plan(i.model, tried, most_workspace);
      MemoryResource& memory = tried.memory != nullptr ? *tried.memory : lowered.backend->default_memory();
      i.program = lowered.lowering->program();
      if (tried.on_plan) tried.on_plan(lowered.plan);
      (void)memory.trim();  // so all attempts start from the same memory; --max-batch relies on it
      i.executable = lowered.lowering->bind(i.model, lowered.plan, memory);
    } catch (const OutOfMemory& error) {
      // Smaller micro-batches need a smaller arena, and less memory in which kernels are timed before there is a plan.
      const bool planned = lowered.lowering != nullptr;
      const int64_t slice = planned ? i.program.micro_batch : tried.micro_batch != 0 ? tried.micro_batch : tried.batch;
      const bool whole = i.model.parameters.size() == parameters;
      if (may_divide && slice > 1 && whole) {
        tried.micro_batch = slice / 2;
        continue;
      }
      if (const auto next = planned && whole ? lowered.next_workspace_bytes : std::nullopt) {
        most_workspace = *next;
        continue;
      }
      if (planned) throw refused(error, lowered);
      throw;
    }
    i.model.parameters.clear();  // packed; the caller may still hold some
    (void)(tried.memory != nullptr ? *tried.memory : lowered.backend->default_memory()).trim();  // of what these lay in
    i.plan = std::move(lowered.plan);
    i.backend = std::move(lowered.backend);
    i.options.batch_norm = tried.batch_norm;
    return;
  }
}

SessionEstimate estimate_memory(const Model& model, SessionOptions options, size_t most_workspace) {
  if (options.kernels == KernelChoice::kMeasured) options.kernels = KernelChoice::kRemembered;  // nothing may run here
  const Lowered lowered = lower_and_plan(model, options, most_workspace);
  SessionEstimate made;
  made.program = lowered.lowering->program();
  made.plan = lowered.plan;
  made.next_workspace_bytes = lowered.next_workspace_bytes;
  const BoundMemory bound = lowered.lowering->memory();
  made.memory = memory_of(bound, made.program, made.plan);
  made.packing_bytes = bound.packing_bytes > made.plan.arena_bytes ? bound.packing_bytes : 0;
  return made;
}

size_t block_bytes(const SessionMemory& m, size_t packing_bytes) {
  const auto rounded_up = [](size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; };
  return kAlignment - 1 + rounded_up(m.weights_bytes) + rounded_up(std::max(m.arena_bytes, packing_bytes)) +
         rounded_up(m.statistics_bytes) + rounded_up(m.staging_bytes);
}

Peaks measure_peaks(const SessionOptions& options) {
  check_precision(options.device, options.precision);
  const std::unique_ptr<Backend> backend = backend_of(options.device.kind).make(options.device);
  LowerOptions lowered = options;
  if (lowered.memory == nullptr) lowered.memory = &backend->default_memory();
  return backend->measure_peaks(lowered);
}

Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const Graph& Session::graph() const noexcept { return impl_->model.graph; }
const SessionOptions& Session::options() const noexcept { return impl_->options; }
std::span<Slot> Session::slots() noexcept { return impl_->executable->slots(); }
int Session::depth() const noexcept { return impl_->executable->depth(); }

std::span<const float> Session::run(const Slot& slot) {
  (void)impl_->at_rest();
  begin(slot);
  return end();
}

void Session::begin(const Slot& slot) {
  ELEK_CHECK(impl_->under_way < depth(), std::to_string(impl_->under_way) + " batches are under way; call end() first");
  impl_->executable->begin(slot);
  ++impl_->under_way;
}

std::span<const float> Session::end() {
  ELEK_CHECK(impl_->under_way > 0, "no batch is under way; call begin() first");
  --impl_->under_way;  // a batch that fails has ended too
  return impl_->executable->end();
}

std::span<const float> Session::run_timed(const Slot& slot, StepTimes& times) {
  return impl_->at_rest().run_timed(slot, times);
}

std::span<const float> Session::run_values(std::span<const float> x, int64_t samples) {
  (void)impl_->at_rest();
  return impl_->executable->run_values(x, samples);
}

Statistics Session::statistics() const {
  Statistics s;
  s.model_hash = impl_->model_hash;
  s.tap = impl_->options.probes.tap;
  s.threshold = impl_->options.probes.threshold;
  s.precision = std::string(name_of(impl_->options.precision));
  impl_->at_rest().read_statistics(s);
  return s;
}

void Session::reset_statistics() { impl_->at_rest().reset_statistics(); }

std::vector<BatchMoments> Session::batch_moments() const {
  ELEK_CHECK(impl_->options.batch_moments, "the session takes no batch moments; set SessionOptions::batch_moments");
  return impl_->at_rest().batch_moments();
}

std::vector<float> Session::stored_value(const std::string& name) const {
  const auto& tensors = impl_->program.tensors;
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const ProgramTensor& t) { return t.name == name; });
  ELEK_CHECK(found != tensors.end(), "'" + name + "' is not a stored value of this session");
  return impl_->at_rest().stored_value(static_cast<int32_t>(found - tensors.begin()));
}

SessionMemory Session::memory() const { return memory_of(impl_->executable->memory(), impl_->program, impl_->plan); }

const Program& Session::program() const noexcept { return impl_->program; }
const MemoryPlan& Session::plan() const noexcept { return impl_->plan; }

}  // namespace elek
