// SPDX-License-Identifier: Apache-2.0
// Session: fuse, lower, plan, bind, and then only forward. What runs where is the backend's.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include "engine/session.h"

#include <algorithm>
#include <utility>

#include "engine/backends/backend.h"
#include "engine/base/error.h"

namespace elek {
namespace {

LowerOptions lower_options(const SessionOptions& o) {
  LowerOptions made;
  made.batch = o.batch;
  made.micro_batch = o.micro_batch;
  made.threads = o.threads;
  made.probes = o.probes;
  made.batch_norm = o.batch_norm;
  made.batch_moments = o.batch_moments;
  made.deterministic = o.deterministic;
  made.winograd = o.winograd;
  made.keep_values = o.keep_values;
  made.precision = o.precision;
  made.memory = o.memory;
  return made;
}

}  // namespace

MemoryResource& default_memory(const Device& device) { return device_memory(device); }
std::string why_not(const Device& device) { return why_unavailable(device); }

struct Session::Impl {
  Model model;
  SessionOptions options;
  uint64_t model_hash = 0;
  std::unique_ptr<Backend> backend;
  Program program;
  MemoryPlan plan;
  std::unique_ptr<Executable> executable;
};

Session::Session(Model model, SessionOptions options) : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  if (options.device.kind == DeviceKind::kCpu && options.precision != Precision::kF32) {
    throw UsageError("--precision " + std::string(name_of(options.precision)) +
                     ": the CPU computes in f32 only; use --precision f32, or --device cuda where there is a GPU");
  }
  i.backend = make_backend(options.device);
  if (options.probes.tap == Tap::kConv) options.batch_norm = BatchNorm::kApart;  // folded, the raw convolution is nowhere
  i.model = std::move(model);
  i.options = std::move(options);
  i.model_hash = hash(i.model);
  const FusedGraph fused = fuse(i.model.graph, i.options.batch_norm);
  const std::unique_ptr<Lowering> lowering = i.backend->lower(i.model, fused, lower_options(i.options));
  i.program = lowering->program();
  i.plan = elek::plan(i.program);
  MemoryResource& memory = i.options.memory != nullptr ? *i.options.memory : i.backend->default_memory();
  i.executable = lowering->bind(i.model, i.plan, memory);
}

Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const Model& Session::model() const noexcept { return impl_->model; }
const SessionOptions& Session::options() const noexcept { return impl_->options; }
std::span<Slot> Session::slots() noexcept { return impl_->executable->slots(); }
std::span<const float> Session::run(const Slot& slot) { return impl_->executable->run(slot); }

Statistics Session::statistics() const {
  Statistics s;
  s.model_hash = impl_->model_hash;
  s.tap = impl_->options.probes.tap;
  s.threshold = impl_->options.probes.threshold;
  s.precision = std::string(name_of(impl_->options.precision));
  impl_->executable->read_statistics(s);
  return s;
}

void Session::reset_statistics() { impl_->executable->reset_statistics(); }

std::vector<BatchMoments> Session::batch_moments() const {
  ELEK_CHECK(impl_->options.batch_moments, "the session was not asked for batch moments (SessionOptions::batch_moments)");
  return impl_->executable->batch_moments();
}

std::vector<float> Session::stored_value(const std::string& name) const {
  const auto& tensors = impl_->program.tensors;
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const ProgramTensor& t) { return t.name == name; });
  ELEK_CHECK(found != tensors.end(), "'" + name + "' is not a stored value of this session");
  return impl_->executable->stored_value(static_cast<int32_t>(found - tensors.begin()));
}

SessionMemory Session::memory() const {
  const BoundMemory bound = impl_->executable->memory();
  SessionMemory m;
  m.weights_bytes = bound.weights_bytes;
  m.statistics_bytes = bound.statistics_bytes;
  m.staging_bytes = bound.staging_bytes;
  m.arena_bytes = impl_->plan.arena_bytes;
  m.lower_bound_bytes = impl_->plan.lower_bound_bytes;
  m.activations_bytes = impl_->plan.activations_bound_bytes;
  for (const ProgramStep& step : impl_->program.steps) m.workspace_bytes = std::max(m.workspace_bytes, step.workspace_bytes);
  return m;
}

const Program& Session::program() const noexcept { return impl_->program; }
const MemoryPlan& Session::plan() const noexcept { return impl_->plan; }

}  // namespace elek
