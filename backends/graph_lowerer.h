// SPDX-License-Identifier: Apache-2.0
// The part of lowering that all backends share. It turns fused nodes into steps and tensors, finds the stored value of each
// probe, finds the step of each batch norm that is kept apart, and gives each tensor its storage. A backend derives from it and
// adds layouts, kernels and slabs. It is a template over the backend's Notes (derived from CommonNotes, with `steps` of a type
// derived from CommonStep), so that each backend reads its own Notes without casts.
// Tests: tests/golden/session_test.cpp, tests/golden/statistics_test.cpp, tests/deviceless/lower_test.cpp
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "backends/steps.h"
#include "backends/storages.h"
#include "core/error.h"
#include "core/sums.h"

namespace elek::backends {

template <typename Notes>
class GraphLowerer {
 public:
  Program program;
  Notes notes;

 protected:
  using Step = typename decltype(Notes::steps)::value_type;

  GraphLowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options) : graph_(model.graph), fused_(fused) {
    notes.options = options;
    notes.input_shape = graph_.input_shape();
  }
  ~GraphLowerer() = default;
  GraphLowerer(GraphLowerer&&) noexcept = default;

  /// Sets type, layout, pitch and bytes of a tensor whose name and shape are set. `node` makes it (null: the input).
  virtual void lay_out(ProgramTensor& tensor, const FusedNode* node, Kind kind) const = 0;
  /// Whether a value lies in the order channel, row, column. Then flattening it costs nothing.
  [[nodiscard]] virtual bool lies_flat(const ProgramTensor& tensor) const = 0;

  void check_options() const;
  void add_steps();
  void resolve_probes();
  void decide_batch_norm();
  /// Gives each tensor its storage and each step its place. Asks `overwrites_residual(step)` for convolutions that add a
  /// residual.
  template <typename OverwritesResidual>
  void share_storages(OverwritesResidual&& overwrites_residual);

  [[nodiscard]] ProgramTensor& tensor(int32_t index) { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const ProgramTensor& tensor(int32_t index) const { return program.tensors[static_cast<size_t>(index)]; }
  [[nodiscard]] const ProgramTensor& tensor_of(ValueId value) const { return tensor(index_of_.at(value)); }
  [[nodiscard]] const std::string& name_of(ValueId value) const { return graph_.node(value).name; }
  [[nodiscard]] uint32_t sums_of(const Step& step) const {
    return step.watched < 0 ? 0 : notes.watched[static_cast<size_t>(step.watched)].sums;
  }

  const Graph& graph_;
  const FusedGraph& fused_;

 private:
  int32_t add_tensor(ValueId value, const FusedNode* node, Kind kind);
  void add_step(const FusedNode& node);
  void watch(const std::string& name, uint32_t sums);
  void watch_taps(const std::string& name);
  std::map<ValueId, int32_t> index_of_;
};

template <typename Notes>
void GraphLowerer<Notes>::check_options() const {
  const LowerOptions& o = notes.options;
  ELEK_CHECK(o.batch >= 1, "batch " + std::to_string(o.batch) + ", expected at least 1");
  ELEK_CHECK(o.micro_batch >= 0 && o.threads >= 0, "micro-batch and threads must not be negative");
  ELEK_CHECK(!o.batch_moments || o.batch_norm == BatchNorm::kApart, "batch moments need batch norm kept apart");
  ELEK_CHECK(o.probes.tap == Tap::kRelu || o.batch_norm == BatchNorm::kApart, "Tap::kConv needs batch norm kept apart");
}

template <typename Notes>
int32_t GraphLowerer<Notes>::add_tensor(ValueId value, const FusedNode* node, Kind kind) {
  ProgramTensor t;
  t.name = name_of(value);
  t.value = value;
  t.shape = graph_.node(value).shape;
  lay_out(t, node, kind);
  const auto index = static_cast<int32_t>(program.tensors.size());
  index_of_[value] = index;
  program.tensors.push_back(std::move(t));
  return index;
}

template <typename Notes>
void GraphLowerer<Notes>::add_steps() {
  ProgramStep first;
  first.node.node = graph_.node(fused_.input);
  first.node.output = first.node.preactivation = fused_.input;
  first.output = add_tensor(fused_.input, nullptr, Kind::kPreprocess);
  first.kernel = "preprocess";
  program.steps.push_back(std::move(first));
  notes.steps.emplace_back();
  notes.steps.back().kind = Kind::kPreprocess;
  notes.steps.back().output = 0;
  for (const FusedNode& f : fused_.steps) add_step(f);
  notes.output = index_of_.at(fused_.output);
}

template <typename Notes>
void GraphLowerer<Notes>::add_step(const FusedNode& f) {
  Step step;
  step.kind = kind_of(op_class(f.node));
  if (step.kind == Kind::kRelayout && lies_flat(tensor_of(f.input))) step.kind = Kind::kAlias;
  step.input = index_of_.at(f.input);
  if (f.residual) step.residual = index_of_.at(*f.residual);
  for (const ValueId each : f.more) step.more.push_back(index_of_.at(each));
  step.activation = f.activation.is_none() ? activation_of(f.node.attrs) : f.activation;
  step.output = add_tensor(f.output, &f, step.kind);
  if (step.residual >= 0 && step.kind != Kind::kKernel) {  // the residual is added
    const ProgramTensor& r = tensor(step.residual);
    const ProgramTensor& y = tensor(step.output);
    ELEK_CHECK(r.layout == y.layout && r.shape == y.shape,
               "node '" + f.node.name + "': adds '" + r.name + "' (" + to_string(r.shape) + ", " +
                   std::string(elek::name_of(r.layout)) + ") to " + to_string(y.shape) + ", " +
                   std::string(elek::name_of(y.layout)) + "; only values of one shape and layout can be added");
  }
  if (step.kind == Kind::kLinear) {
    const ProgramTensor& x = tensor(step.input);
    ELEK_CHECK(x.shape.positions() == 1, "linear '" + f.node.name + "': reads " + to_string(x.shape) + "; flatten it first");
  }
  ProgramStep made;
  made.node = f;
  made.input = step.input;
  made.residual = step.residual;
  made.more = step.more;
  made.output = step.output;
  made.alias = step.kind == Kind::kAlias;
  made.kernel = made.alias ? "alias" : op_name(f.node);  // the kernels of convolutions and linear layers are chosen later
  program.steps.push_back(std::move(made));
  notes.steps.push_back(std::move(step));
}

template <typename Notes>
void GraphLowerer<Notes>::resolve_probes() {
  for (const auto& [name, sums] : notes.options.probes.values) watch(name, sums);
  for (const std::string& name : notes.options.probes.tap_norms) watch_taps(name);
}

template <typename Notes>
void GraphLowerer<Notes>::watch(const std::string& name, uint32_t sums) {
  ELEK_CHECK(sums != 0 && (sums & ~kKnownSums) == 0, "value '" + name + "': unknown sums " + std::to_string(sums));
  const bool conv_tap = notes.options.probes.tap == Tap::kConv;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    const bool stored = name_of(f.output) == name;
    const bool raw = conv_tap && step.kind == Kind::kConv;
    if (!stored && !(raw && (f.node.name == name || name_of(f.preactivation) == name))) continue;
    ELEK_CHECK(step.watched < 0, "values '" + name + "' and '" +
                                     notes.watched[static_cast<size_t>(std::max(step.watched, 0))].name +
                                     "' are the same convolution; watch only one of them");
    const bool has_z = has_weights(f.node);
    ELEK_CHECK((sums & kMoments) == 0 || (has_z && !raw),
               "value '" + name +
                   "' has no value before the activation that could be summed: no convolution makes it, or the tap is the "
                   "convolution itself");
    step.watched = static_cast<int32_t>(notes.watched.size());
    step.watch_raw = raw;
    notes.watched.push_back({name, step.output, sums, 0});
    program.steps[i].observed = true;
    return;
  }
  ELEK_CHECK(graph_.find(name) >= 0, "the network has no value '" + name + "'");
  ELEK_CHECK(false, "value '" + name + "' is not stored, because it is fused into a larger step; watch the value that this " +
                        "step stores");
}

template <typename Notes>
void GraphLowerer<Notes>::watch_taps(const std::string& name) {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    if (f.node.name != name || !has_weights(f.node) || step.tap_norm >= 0) continue;
    WatchedTaps taps;
    taps.name = name;
    taps.plan = kernels::make_tap_norm_plan(tensor(step.input).shape, as_convolution(f.node.attrs).window());
    step.tap_norm = static_cast<int32_t>(notes.tap_norms.size());
    notes.tap_norms.push_back(std::move(taps));
    program.steps[i].observed = true;
    return;
  }
  ELEK_CHECK(false, "input norms of '" + name +
                        "': the network has no convolution or linear layer of this name, or it was named twice");
}

template <typename Notes>
void GraphLowerer<Notes>::decide_batch_norm() {
  const bool apart = notes.options.batch_norm == BatchNorm::kApart;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    if (f.node.is<BatchNormAttrs>()) step.batch_norm = f.node.name;
    if (step.kind == Kind::kConv && apart && !f.batch_norm.empty()) {
      step.batch_norm = f.batch_norm;
      step.bn_apart = true;
    }
    if (!notes.options.batch_moments || step.batch_norm.empty()) continue;
    WatchedMoments moments;
    moments.batch_norm = step.batch_norm;
    moments.channels = tensor(step.output).shape.channels;
    moments.eps = graph_.node(graph_.at(step.batch_norm)).template as<BatchNormAttrs>().eps;
    step.batch_moment = static_cast<int32_t>(notes.batch_moments.size());
    notes.batch_moments.push_back(std::move(moments));
  }
}

template <typename Notes>
template <typename OverwritesResidual>
void GraphLowerer<Notes>::share_storages(OverwritesResidual&& overwrites_residual) {
  const LowerOptions& o = notes.options;
  std::vector<Overwrites> can;
  for (const Step& step : notes.steps) {
    const bool elementwise = step.kind == Kind::kElementwise;
    const bool convolution = step.kind == Kind::kConv && step.residual >= 0;
    can.push_back({step.kind == Kind::kAlias, elementwise, elementwise || (convolution && overwrites_residual(step))});
  }
  const Reuse reuse = o.keep_values || o.batch_moments ? Reuse::kNever : Reuse::kInPlace;
  const std::vector<Place> places = backends::share_storages(program, notes.output, can, reuse, o.keep_values);
  for (size_t i = 0; i < places.size(); ++i) notes.steps[i].place = places[i];
}

}  // namespace elek::backends
