// SPDX-License-Identifier: Apache-2.0
// One pass takes the ranges; then, with kMoments, one pass per layer along the trail, as in the refit. Tests:
// tests/quantize/quantize_test.cpp
#include "elek/quantize.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "graph/integer_values.h"
#include "prune/moments.h"
#include "prune/refit.h"
#include "prune/trail.h"
#include "quantize/histogram.h"
#include "quantize/round_weights.h"

namespace elek {
namespace {

/// Values kept for one batch of the pass that takes ranges.
constexpr int64_t kRangesBytes = int64_t{64} << 20;

/// A value that quantised convolutions read.
struct Range {
  bool is_signed = true;
  Histogram histogram;
};
using Ranges = std::map<std::string, Range>;

/// Whether no value of it is negative, whatever the input: it lies behind a ReLU, or only passes such values on.
bool is_never_negative(const FusedNode& step, const std::map<ValueId, bool>& known) {
  if (!step.activation.is_none()) return step.activation.is_clamp() && step.activation.lowest() >= 0;
  if (step.node.is<MaxPoolAttrs>() || step.node.is<ChannelMapAttrs>() || step.node.is<AvgPoolAttrs>()) {
    const auto read = known.find(step.input);
    return read != known.end() && read->second;
  }
  const Activation own = activation_of(step.node.attrs);
  return !own.is_none() && own.is_clamp() && own.lowest() >= 0;
}

class Quantizer {
 public:
  Quantizer(const Model& model, BatchSource& images, const SessionOptions& session, const QuantizeOptions& options,
            const Progress& progress)
      : folded_(fold_batch_norms(model)),
        images_(images),
        session_(session),
        options_(options),
        progress_(progress),
        fused_(fuse(folded_.graph)) {
    // Moments, kept activations and parameters are in host memory.
    const bool on_host = session.memory != nullptr && is_host(session.memory->device());
    resource_ = on_host ? session.memory : &host_resource();
    session_.precision = Precision::kF32;
    session_.probes = {};
    session_.batch_norm = BatchNorm::kFold;
    session_.batch_moments = false;
  }

  Model run(const Model& model, QuantizeReport& report) {
    require_f32_weights(model, "quantize");
    list_layers(report);
    const int64_t passes = options_.rounding == WeightRounding::kMoments ? 1 + std::ssize(steps_) : 1;
    total_ = passes * images_.samples();
    take_ranges(report);
    Model made = folded_;
    made.quantization.values = grids();
    if (options_.rounding == WeightRounding::kMoments) {
      round_all_by_moments(made, report);
    } else {
      for (const FusedNode* step : steps_) round_to_nearest(made, *step);
    }
    made.history.push_back(history_entry(model, report));
    validate(made, "quantize");  // what is returned is what a file of it must be
    return made;
  }

 private:
  void list_layers(QuantizeReport& report) {
    for (const std::string& name : options_.keep) {
      const ValueId node = folded_.graph.find(name);
      if (node < 0 || !has_weights(folded_.graph.node(node))) {
        throw UsageError("quantize: keep '" + name + "': the network has no layer of this name");
      }
    }
    for (const FusedNode& step : fused_.steps) {
      if (!has_weights(step.node)) continue;
      const std::string why = options_.keep.contains(step.node.name) ? "kept on request" : why_not_quantised(step);
      report.layers.push_back({step.node.name, why, 1});
      if (why.empty()) steps_.push_back(&step);
    }
    if (steps_.empty()) throw UsageError("quantize: the network has no layer that can be quantised");
  }

  void take_ranges(QuantizeReport& report) {
    std::map<ValueId, bool> never_negative;
    for (const FusedNode& step : fused_.steps) never_negative[step.output] = is_never_negative(step, never_negative);
    for (const FusedNode* step : steps_) {
      const auto known = never_negative.find(step->input);
      ranges_[folded_.graph.node(step->input).name].is_signed = known == never_negative.end() || !known->second;
    }
    SessionOptions options = session_;
    int64_t floats = 0;
    for (const FusedNode& step : fused_.steps) floats += folded_.graph.node(step.output).shape.elements();
    const int64_t most = kRangesBytes / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(floats, 1);
    options.batch = std::clamp<int64_t>(most, 1, options.batch);
    options.keep_values = true;
    Session session(folded_, options);
    const auto visit = [&](const Slot& slot, std::span<const float>) {
      for (auto& [name, range] : ranges_) range.histogram.add(session.stored_value(name));
      report.samples += slot.count;
      advance(slot.count);
    };
    if (for_each_batch(session, images_, 0, {}, visit) == 0) {
      throw InputError("quantize: '" + images_.description() + "' has no image");
    }
    for (const auto& [name, range] : ranges_) {
      if (range.histogram.nonfinite() > 0) {
        throw InputError("quantize: '" + name + "' has " + std::to_string(range.histogram.nonfinite()) +
                         " values that are NaN or infinite; check that the images are what the network expects");
      }
    }
  }

  [[nodiscard]] std::map<std::string, IntegerGrid> grids() const {
    std::map<std::string, IntegerGrid> made;
    for (const auto& [name, range] : ranges_) {
      const IntegerGrid sign{1, range.is_signed};
      made[name] = {range.histogram.best_step(sign.highest()), range.is_signed};
    }
    // A pool or map only passes values on: its input and output get the same grid, so that both can lie in memory as integers.
    const auto passes_on = [](const FusedNode& step) {
      return step.node.is<MaxPoolAttrs>() || step.node.is<ChannelMapAttrs>();
    };
    const auto give = [&](ValueId from, ValueId to) {
      const auto grid = made.find(folded_.graph.node(from).name);
      if (grid != made.end()) made.emplace(folded_.graph.node(to).name, grid->second);
    };
    for (auto step = fused_.steps.rbegin(); step != fused_.steps.rend(); ++step) {
      if (passes_on(*step)) give(step->output, step->input);
    }
    for (const FusedNode& step : fused_.steps) {
      if (passes_on(step)) give(step.input, step.output);
    }
    return made;
  }

  static std::shared_ptr<Tensor> copy_of(const Model& model, const std::string& name, MemoryResource& resource) {
    return std::make_shared<Tensor>(model.parameter(name).clone(resource, {name, Use::kModel}));
  }

  void round_to_nearest(Model& model, const FusedNode& step) const {
    const std::string weight_name = step.node.name + ".weight";
    std::shared_ptr<Tensor> weight = copy_of(model, weight_name, *resource_);
    std::vector<float> scales = weight_scales(weight->f32(), step.node.shape.channels);
    elek::round_to_nearest(weight->f32(), scales);
    model.parameters[weight_name] = std::move(weight);
    model.quantization.layers[step.node.name] = std::move(scales);
  }

  void round_all_by_moments(Model& model, QuantizeReport& report) {
    if (!starts_from_values(session_.device)) {
      throw UsageError("quantize: rounding by moments runs on the CPU only");
    }
    std::vector<ValueId> inputs;
    for (const FusedNode* step : steps_) inputs.push_back(step->input);
    const KeptValues kept =
        plan_kept_values({&folded_.graph, &folded_.graph}, inputs, images_.samples(), options_.keep_activations_bytes);
    Trail trail(images_, session_, kept.floats, *resource_);
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (kept.from[i] != trail.at()) trail.advance(std::array<const Model*, 2>{&folded_, &model}, kept.from[i]);
      const double error = round_by_moments(model, *steps_[i], trail);
      const auto layer = std::find_if(report.layers.begin(), report.layers.end(),
                                      [&](const QuantizedLayer& each) { return each.name == steps_[i]->node.name; });
      layer->error = error;
    }
  }

  /// Returns the error as a share of that of rounding to nearest.
  double round_by_moments(Model& model, const FusedNode& step, Trail& trail) {
    const ValueId node = model.graph.at(step.node.name);
    const IntegerGrid& grid = model.quantization.values.at(model.graph.node(step.input).name);
    FitShape shape = input_shape_of(model.graph, node);
    shape.outputs = shape.target_channels = step.node.shape.channels;
    shape.targets.resize(at(shape.outputs));
    std::iota(shape.targets.begin(), shape.targets.end(), 0);
    const int threads = thread_count(session_.threads);
    FitMoments moments(shape, false, threads, *resource_);
    std::vector<float> x;
    const std::array outputs{PassOutput{&folded_, 0, node}, PassOutput{&model, 1, step.input}};
    (void)trail.pass(outputs, [&](int64_t samples, std::span<const std::span<const float>> values) {
      x.assign(values[1].begin(), values[1].end());
      for (float& value : x) value = on_grid(value, grid);
      moments.add(x, values[0], samples);
      advance(samples);
    });
    const std::string& name = step.node.name;
    std::shared_ptr<Tensor> weight = copy_of(model, name + ".weight", *resource_);
    std::shared_ptr<Tensor> bias;
    if (step.node.as<Conv2dAttrs>().bias) {
      bias = copy_of(model, name + ".bias", *resource_);
    } else {
      bias = std::make_shared<Tensor>(Shape{shape.outputs}, DType::kF32, *resource_, BlockLabel(name + ".bias", Use::kModel));
      std::fill(bias->f32().begin(), bias->f32().end(), 0.0F);
    }
    const RoundedByMoments rounded = elek::round_by_moments(moments, shape, threads, *resource_, weight->f32(), bias->f32());
    model.parameters[name + ".weight"] = std::move(weight);
    if (step.node.as<Conv2dAttrs>().bias) model.parameters[name + ".bias"] = std::move(bias);
    model.quantization.layers[name] = rounded.scales;
    return rounded.error_nearest > 0 ? rounded.error / rounded.error_nearest : 1;
  }

  void advance(int64_t samples) {
    done_ += samples;
    if (progress_) progress_(done_, total_);
  }

  [[nodiscard]] HistoryEntry history_entry(const Model& model, const QuantizeReport& report) const {
    HistoryEntry entry;
    entry.action = "quantize";
    entry.target = "int8 rounding=" + name_of(options_.rounding);
    entry.source_hash = to_hex(hash(model));
    entry.calibration = images_.description();
    entry.calibration_samples = report.samples;
    entry.version = ELEK_VERSION;
    return entry;
  }

  Model folded_;
  BatchSource& images_;
  SessionOptions session_;
  const QuantizeOptions& options_;
  const Progress& progress_;
  FusedGraph fused_;
  MemoryResource* resource_ = nullptr;
  std::vector<const FusedNode*> steps_;  // the layers to quantise, in order
  Ranges ranges_;
  int64_t done_ = 0;
  int64_t total_ = 0;
};

}  // namespace

std::string name_of(WeightRounding rounding) { return rounding == WeightRounding::kNearest ? "nearest" : "moments"; }

WeightRounding weight_rounding_from_name(const std::string& name) {
  for (const WeightRounding each : {WeightRounding::kNearest, WeightRounding::kMoments}) {
    if (name == name_of(each)) return each;
  }
  throw UsageError("rounding '" + name + "': expected nearest or moments");
}

int64_t QuantizeReport::quantized() const {
  return std::count_if(layers.begin(), layers.end(), [](const QuantizedLayer& each) { return each.why_not.empty(); });
}

Model quantize(const Model& model, BatchSource& images, const SessionOptions& session, const QuantizeOptions& options,
               const Progress& progress, QuantizeReport& report) {
  report = {};
  return Quantizer(model, images, session, options, progress).run(model, report);
}

}  // namespace elek
