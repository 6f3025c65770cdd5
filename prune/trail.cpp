// SPDX-License-Identifier: Apache-2.0
// Sessions of the part between the kept value and the wanted ones. Values that grow are moved from the last batch to the first,
// values that shrink from the first to the last. So a batch never overwrites data that is still to be read.
// Tests: tests/prune/trail_test.cpp
#include "prune/trail.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"

namespace elek {
namespace {

/// Samples per batch, so that no value exceeds kTrailBatchBytes.
int64_t batch_of(std::span<const PassOutput> outputs, int64_t most) {
  for (const PassOutput& output : outputs) {
    const int64_t bytes = output.model->graph.node(output.to).shape.elements() * static_cast<int64_t>(sizeof(float));
    most = std::min(most, std::max<int64_t>(1, kTrailBatchBytes / bytes));
  }
  return most;
}

}  // namespace

std::vector<bool> needed_nodes(const Graph& graph, ValueId from, ValueId to) {
  std::vector<bool> needed(graph.nodes().size(), false);
  needed[elek::at(to)] = true;
  for (ValueId id = to; id > from; --id) {
    if (!needed[elek::at(id)]) continue;
    for (const ValueId input : graph.node(id).inputs) needed[elek::at(input)] = true;
  }
  return needed;
}

std::vector<ValueId> narrow_values(const Graph& graph) {
  const auto count = static_cast<ValueId>(graph.nodes().size());
  std::vector<ValueId> narrow;
  ValueId reach = 0;  // the last node that reads a value before v
  for (ValueId v = 0; v < count; ++v) {
    if (reach <= v) narrow.push_back(v);
    for (const ValueId reader : graph.consumers(v)) reach = std::max(reach, reader);
  }
  return narrow;
}

Model part_of(const Model& model, ValueId from, ValueId to) {
  const std::vector<bool> needed = needed_nodes(model.graph, from, to);
  Model part;
  part.architecture = model.architecture;
  part.preprocessing = model.preprocessing;
  std::vector<ValueId> moved(needed.size(), -1);
  if (from >= 0) {
    const Node& node = model.graph.node(from);
    moved[elek::at(from)] = part.graph.add(node.name, InputAttrs{node.shape}, {});
    part.preprocessing = {std::vector<float>(elek::at(node.shape.channels), 0.0F),
                          std::vector<float>(elek::at(node.shape.channels), 1.0F)};
  }
  for (ValueId id = from + 1; id <= to; ++id) {
    if (!needed[elek::at(id)]) continue;
    const Node& node = model.graph.node(id);
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) {
      ELEK_CHECK(moved[elek::at(input)] >= 0,
                 "'" + node.name + "' reads a value before '" + model.graph.node(from).name + "': no pass can start there");
      inputs.push_back(moved[elek::at(input)]);
    }
    moved[elek::at(id)] = part.graph.add(node.name, node.attrs, std::move(inputs));
  }
  part.graph.set_output(moved[elek::at(to)]);
  for (const ParameterSpec& spec : required_parameters(part.graph)) part.parameters[spec.name] = model.parameters.at(spec.name);
  const auto is_there = [&](const auto& entry) { return part.graph.find(entry.first) >= 0; };
  std::ranges::copy_if(model.quantization.layers, std::inserter(part.quantization.layers, part.quantization.layers.end()),
                       is_there);
  std::ranges::copy_if(model.quantization.values, std::inserter(part.quantization.values, part.quantization.values.end()),
                       is_there);
  return part;
}

int64_t macs_between(const Graph& graph, ValueId from, ValueId to) {
  const std::vector<bool> needed = needed_nodes(graph, from, to);
  int64_t total = 0;
  for (ValueId id = from + 1; id <= to; ++id) {
    if (needed[elek::at(id)]) total += macs(graph, graph.node(id));
  }
  return total;
}

ValueId common_start(const Graph& graph, ValueId from, std::span<const ValueId> values, const Device& device) {
  if (!starts_from_values(device)) return from;
  const ValueId first = *std::min_element(values.begin(), values.end());
  ValueId start = from;
  for (const ValueId narrow : narrow_values(graph)) {
    if (narrow > 0 && narrow > from && narrow <= first) start = narrow;  // 0 is the input itself
  }
  return start;
}

KeptValues plan_kept_values(const std::vector<const Graph*>& graphs, std::span<const ValueId> inputs, int64_t samples,
                            size_t bytes) {
  const std::vector<ValueId> narrow = narrow_values(*graphs.at(0));
  KeptValues kept;
  std::vector<int64_t> floats(graphs.size(), 0);
  ValueId from = -1;
  for (const ValueId input : inputs) {
    const auto past = std::upper_bound(narrow.begin(), narrow.end(), input);
    const ValueId best = past == narrow.begin() ? -1 : *(past - 1);
    for (auto next = past; next != narrow.begin() && *(next - 1) > std::max<ValueId>(from, 0); --next) {
      std::vector<int64_t> wanted = floats;
      int64_t all = 0;
      for (size_t i = 0; i < graphs.size(); ++i)
        all += wanted[i] = std::max(wanted[i], graphs[i]->node(*(next - 1)).shape.elements());
      if (static_cast<double>(all) * static_cast<double>(samples) * sizeof(float) > static_cast<double>(bytes)) continue;
      floats = wanted;
      kept.bytes = elek::at(all * samples) * sizeof(float);
      from = *(next - 1);
      break;
    }
    kept.from.push_back(from);
    if (best > std::max<ValueId>(from, 0)) ++kept.recomputed;
  }
  if (from >= 0) kept.floats = floats;
  return kept;
}

Trail::Trail(BatchSource& images, SessionOptions options, std::span<const int64_t> capacity, MemoryResource& resource)
    : images_(images), options_(std::move(options)), samples_(images.samples()), capacity_(capacity.begin(), capacity.end()) {
  options_.probes = {};
  options_.batch_norm = BatchNorm::kFold;
  options_.batch_moments = false;
  options_.keep_values = false;
  for (const int64_t floats : capacity_)
    kept_.emplace_back(elek::at(floats * samples_) * sizeof(float), resource, BlockLabel("kept activations", Use::kKept));
  each_.resize(capacity_.size(), 0);
}

void Trail::each_batch(int64_t size, Session* first, bool backwards, const std::function<void(const Batch&)>& f) {
  if (at_ < 0) {
    const SourcePass pass(images_, first->slots());
    int64_t done = 0;
    while (const Slot* slot = images_.next()) {
      throw_if_interrupted();
      f({done, slot->count, slot});
      done += slot->count;
    }
    return;
  }
  const int64_t batches = (samples_ + size - 1) / size;
  for (int64_t i = 0; i < batches; ++i) {
    throw_if_interrupted();
    const int64_t begin = (backwards ? batches - 1 - i : i) * size;
    f({begin, std::min(size, samples_ - begin), nullptr});
  }
}

std::unique_ptr<Session> Trail::session(const Model& model, ValueId from, ValueId to, int64_t batch) const {
  SessionOptions options = options_;
  options.batch = batch;
  Model part = part_of(model, from, to);
  if (!part.quantization.layers.empty()) options.precision = Precision::kInt8;
  return std::make_unique<Session>(std::move(part), options);
}

/// By network, without sessions yet: the batch must be known first.
std::map<size_t, Trail::Start> Trail::starts_of(std::span<const PassOutput> outputs) const {
  std::map<size_t, std::vector<ValueId>> wanted;
  for (const PassOutput& output : outputs) wanted[output.network].push_back(output.to);
  std::map<size_t, Start> starts;
  for (const PassOutput& output : outputs) {
    if (wanted[output.network].size() < 2 || starts.contains(output.network)) continue;
    const ValueId start = common_start(output.model->graph, at_, wanted[output.network], options_.device);
    if (start != at_) starts[output.network] = {output.model, start, nullptr, {}};
  }
  return starts;
}

std::span<const float> Trail::run(Session& session, size_t network, const Batch& batch) const {
  if (batch.slot != nullptr) return session.run(*batch.slot);
  const int64_t each = each_[network];
  return session.run_values({kept(network) + batch.first * each, elek::at(batch.samples * each)}, batch.samples);
}

int64_t Trail::pass(std::span<const PassOutput> outputs, const Visit& visit) {
  ELEK_CHECK(!outputs.empty(), "a pass needs at least one output");
  std::map<size_t, Start> starts = starts_of(outputs);
  int64_t size = batch_of(outputs, options_.batch);
  for (const auto& [network, start] : starts) size = batch_of(std::array{PassOutput{start.model, network, start.value}}, size);
  const auto start_of = [&](const PassOutput& output) {
    const auto found = starts.find(output.network);
    return found == starts.end() ? nullptr : &found->second;
  };
  std::vector<std::unique_ptr<Session>> sessions;  // null if the wanted value is the one that the part would start from
  Session* loading = nullptr;                      // one that reads images, if any does
  for (auto& [network, start] : starts) {
    start.session = session(*start.model, at_, start.value, size);
    loading = start.session.get();
  }
  for (const PassOutput& output : outputs) {
    const Start* const start = start_of(output);
    const ValueId from = start != nullptr ? start->value : at_;
    sessions.push_back(from >= 0 && output.to == from ? nullptr : session(*output.model, from, output.to, size));
    if (start == nullptr) loading = sessions.back().get();
  }
  const auto value_of = [&](size_t i, const Batch& batch) -> std::span<const float> {
    const Start* const start = start_of(outputs[i]);
    if (start != nullptr) return sessions[i] == nullptr ? start->values : sessions[i]->run_values(start->values, batch.samples);
    if (sessions[i] != nullptr) return run(*sessions[i], outputs[i].network, batch);
    const int64_t each = each_[outputs[i].network];
    return {kept(outputs[i].network) + batch.first * each, elek::at(batch.samples * each)};
  };
  std::vector<std::span<const float>> values(outputs.size());
  int64_t done = 0;
  each_batch(size, loading, false, [&](const Batch& batch) {
    for (auto& [network, start] : starts) start.values = run(*start.session, network, batch);
    for (size_t i = 0; i < outputs.size(); ++i) values[i] = value_of(i, batch);
    visit(batch.samples, values);
    done += batch.samples;
  });
  return done;
}

void Trail::advance(std::span<const Model* const> models, ValueId to) {
  ELEK_CHECK(models.size() == kept_.size() && to > at_, "advance: " + std::to_string(models.size()) + " networks of " +
                                                            std::to_string(kept_.size()) + ", to value " + std::to_string(to));
  std::vector<PassOutput> outputs;
  std::vector<int64_t> each;
  for (size_t i = 0; i < models.size(); ++i) {
    const Node& node = models[i]->graph.node(to);
    outputs.push_back({models[i], i, to});
    each.push_back(node.shape.elements());
    ELEK_CHECK(each[i] <= capacity_[i], "'" + node.name + "' has " + std::to_string(each[i]) + " elements, there is room for " +
                                            std::to_string(capacity_[i]));
  }
  const int64_t size = batch_of(outputs, options_.batch);
  std::vector<std::unique_ptr<Session>> sessions;
  for (const Model* model : models) sessions.push_back(session(*model, at_, to, size));
  int64_t done = 0;
  const auto move = [&](size_t i, const Batch& batch) {
    ELEK_CHECK(batch.first + batch.samples <= samples_,
               "'" + images_.description() + "' gave more than its " + std::to_string(samples_) + " samples");
    const std::span<const float> values = run(*sessions[i], i, batch);
    std::copy(values.begin(), values.end(), kept(i) + batch.first * each[i]);
    done += batch.samples;
  };
  if (at_ < 0) {  // each batch of images is loaded once for all networks
    each_batch(size, sessions[0].get(), false, [&](const Batch& batch) {
      for (size_t i = 0; i < models.size(); ++i) move(i, batch);
    });
  } else {
    for (size_t i = 0; i < models.size(); ++i)
      each_batch(size, nullptr, each[i] > each_[i], [&](const Batch& batch) { move(i, batch); });
  }
  if (done != samples_ * std::ssize(models)) {
    throw InputError("'" + images_.description() + "' gave fewer than its " + std::to_string(samples_) + " samples");
  }
  each_ = std::move(each);
  at_ = to;
}

}  // namespace elek
