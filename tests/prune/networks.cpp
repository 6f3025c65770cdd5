// SPDX-License-Identifier: Apache-2.0
#include "tests/prune/networks.h"

#include <algorithm>
#include <memory>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "tests/golden/window_models.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

float small_integer(Random& random, int64_t low, int64_t high) {
  return static_cast<float>(low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1))));
}

ResNetSpec tiny_spec(bool bottleneck) {
  ResNetSpec spec;
  spec.name = "tiny";
  spec.bottleneck = bottleneck;
  spec.blocks = {2, 1};
  spec.widths = {4, 6};
  spec.stem = Stem::kCifar;
  spec.classes = 5;
  spec.input = {3, 8, 8};
  return spec;
}

/// Grows a graph at random. `at_` is the last value; a residual sum may add one of `kept_`.
class Gardener {
 public:
  explicit Gardener(uint64_t seed) : random_(seed) {}

  Graph grow() {
    last_ = graph_.add("input", InputAttrs{{1 + pick(3), 6, 6}}, {});
    conv(4 + 2 * pick(3), 3, 1, 1);
    kept_ = {last_};
    const int64_t steps = 4 + pick(7);
    for (int64_t i = 0; i < steps; ++i) step();
    head();
    return std::move(graph_);
  }

 private:
  int64_t pick(int64_t below) { return static_cast<int64_t>(random_.below(static_cast<uint64_t>(below))); }
  const ImageShape& shape() { return graph_.node(last_).shape; }

  void add(const std::string& kind, Attrs attrs) {
    last_ = graph_.add(kind + std::to_string(graph_.nodes().size()), std::move(attrs), {last_});
  }

  void conv(int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
    add("conv", Conv2dAttrs{out, kernel, stride, kernel / 2, groups, pick(2) == 0});
    if (pick(3) != 0) add("bn", BatchNormAttrs{});
    if (pick(3) != 0) add("relu", ReluAttrs{});
    kept_.push_back(last_);
  }

  void map() {
    const int64_t out = 2 + pick(8);
    ChannelMapAttrs attrs{{}, 1 + pick(2)};
    for (int64_t d = 0; d < out; ++d) attrs.source.push_back(static_cast<int32_t>(pick(shape().channels + 1) - 1));
    add("map", attrs);
    kept_.push_back(last_);
  }

  void residual() {
    std::vector<ValueId> fits;
    for (const ValueId v : kept_) {
      if (graph_.node(v).shape == shape()) fits.push_back(v);
    }
    if (fits.empty()) return;
    const ValueId back = fits[at(pick(std::ssize(fits)))];
    last_ = graph_.add("add" + std::to_string(graph_.nodes().size()), AddAttrs{}, {last_, back});
    if (pick(2) == 0) add("relu", ReluAttrs{});
    kept_.push_back(last_);
  }

  /// Joins the channels of the last value and of one or two earlier ones of its size (or of itself once more).
  void join() {
    std::vector<ValueId> fits;
    for (const ValueId v : kept_) {
      const ImageShape& other = graph_.node(v).shape;
      if (other.height == shape().height && other.width == shape().width && other.channels <= 12) fits.push_back(v);
    }
    if (fits.empty() || shape().channels > 20) return;
    std::vector<ValueId> inputs{last_};
    for (int64_t i = 1 + pick(2); i > 0; --i) inputs.push_back(fits[at(pick(std::ssize(fits)))]);
    if (pick(2) == 0) std::swap(inputs.front(), inputs.back());
    last_ = graph_.add("concat" + std::to_string(graph_.nodes().size()), ConcatAttrs{}, inputs);
    if (pick(2) == 0) add("bn", BatchNormAttrs{});
    if (pick(2) == 0) add("relu", ReluAttrs{});
    kept_.push_back(last_);
  }

  /// A block whose shortcut is a convolution or a map of the block's input.
  void projected() {
    const ValueId input = last_;
    const int64_t out = 4 + 2 * pick(3);
    const int64_t stride = shape().height > 2 ? 1 + pick(2) : 1;
    conv(out, 3, stride, 1);
    const ValueId main = last_;
    const int64_t in = graph_.node(input).shape.channels;
    last_ = input;
    if (pick(2) == 0) {
      conv(out, 1, stride, 1);
    } else {
      ChannelMapAttrs attrs{std::vector<int32_t>(at(out), -1), stride};
      for (int64_t d = 0; d < std::min(in, out); ++d) attrs.source[at(d)] = static_cast<int32_t>(d);
      add("shortcut", attrs);
    }
    last_ = graph_.add("add" + std::to_string(graph_.nodes().size()), AddAttrs{}, {main, last_});
    add("relu", ReluAttrs{});
    kept_.push_back(last_);
  }

  void step() {
    const int64_t channels = shape().channels;
    switch (pick(10)) {
      case 0:
      case 1:
        return conv(channels, pick(2) == 0 ? 1 : 3, 1, 1);
      case 2:
        return channels % 2 == 0 ? conv(4 + 2 * pick(3), 3, 1, 2) : conv(5, 3, 1, 1);
      case 3:
        return conv(channels, 3, 1, channels);
      case 4:
        if (shape().height < 2) return;
        return pick(2) == 0 ? add("pool", MaxPoolAttrs{{2, 1, 1}}) : add("pool", AvgPoolAttrs{{2, 2, 0}});
      case 5:
        return map();
      case 6:
        return projected();
      case 7:
      case 8:
        return join();
      default:
        return residual();
    }
  }

  void head() {
    if (pick(2) == 0) add("gap", GlobalAvgPoolAttrs{});
    add("flatten", FlattenAttrs{});
    if (pick(2) == 0) {
      add("hidden", LinearAttrs{6, true});
      add("relu", ReluAttrs{});
    }
    add("fc", LinearAttrs{3, pick(2) == 0});
    graph_.set_output(last_);
  }

  Random random_;
  Graph graph_;
  ValueId last_ = -1;
  std::vector<ValueId> kept_;
};

}  // namespace

Model with_parameters(Graph graph, uint64_t seed) {
  Model model;
  model.architecture = "test";
  model.preprocessing = default_preprocessing(graph.input_shape().channels);
  Random random(seed);
  for (const ParameterSpec& spec : required_parameters(graph)) {
    auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, host_resource(), spec.name);
    const bool variance = spec.name.ends_with("running_var");
    const bool gamma = spec.shape.rank() == 1 && spec.name.ends_with(".weight");
    for (float& value : tensor->f32()) {
      value = variance ? small_integer(random, 1, 16) / 4.0F : small_integer(random, -3, 3);
      if (gamma && value == 0.0F) value = 1.0F;  // or the channel would be constant
    }
    model.parameters[spec.name] = std::move(tensor);
  }
  model.graph = std::move(graph);
  return model;
}

Model tiny_basic(uint64_t seed) { return with_parameters(build_resnet(tiny_spec(false)), seed); }

Model tiny_bottleneck(uint64_t seed) {
  ResNetSpec spec = tiny_spec(true);
  spec.expansion = 2;
  spec.width_per_group = 64;
  spec.stem = Stem::kImageNet;
  spec.input = {3, 16, 16};
  return with_parameters(build_resnet(spec), seed);
}

Model tiny_option_a(uint64_t seed) {
  ResNetSpec spec = tiny_spec(false);
  spec.widths = {4, 8};
  spec.shortcut = Shortcut::kA;
  return with_parameters(build_resnet(spec), seed);
}

Model tiny_resnext(uint64_t seed) {
  ResNetSpec spec = tiny_spec(true);
  spec.expansion = 2;
  spec.groups = 3;
  spec.widths = {4, 8};
  spec.width_per_group = 64;
  return with_parameters(build_resnet(spec), seed);
}

Model depthwise_and_flatten(uint64_t seed) {
  Graph graph;
  ValueId v = graph.add("input", InputAttrs{{2, 4, 4}}, {});
  v = graph.add("expand", Conv2dAttrs{6, 1, 1, 0, 1, true}, {v});
  v = graph.add("expand.relu", ReluAttrs{}, {v});
  v = graph.add("depthwise", Conv2dAttrs{6, 3, 1, 1, 6, true}, {v});
  v = graph.add("depthwise.relu", ReluAttrs{}, {v});
  v = graph.add("project", Conv2dAttrs{4, 1, 1, 0, 1, false}, {v});
  v = graph.add("project.relu", ReluAttrs{}, {v});
  v = graph.add("flatten", FlattenAttrs{}, {v});
  v = graph.add("hidden", LinearAttrs{5, true}, {v});
  v = graph.add("hidden.relu", ReluAttrs{}, {v});
  v = graph.add("fc", LinearAttrs{3, true}, {v});
  graph.set_output(v);
  return with_parameters(std::move(graph), seed);
}

Model two_layer_chain(int64_t stride) {
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{3, 8, 8}}, {});
  x = graph.add("conv1", Conv2dAttrs{4, 3, 1, 1, 1, false}, {x});
  x = graph.add("bn1", BatchNormAttrs{}, {x});
  x = graph.add("relu1", ReluAttrs{}, {x});
  x = graph.add("conv2", Conv2dAttrs{3, 3, stride, 1, 1, false}, {x});
  x = graph.add("bn2", BatchNormAttrs{}, {x});
  x = graph.add("pool", GlobalAvgPoolAttrs{}, {x});
  x = graph.add("flatten", FlattenAttrs{}, {x});
  graph.set_output(graph.add("fc", LinearAttrs{5, true}, {x}));
  Model model;
  model.graph = graph;
  model.parameters = tiny_parameters(graph, 4);
  model.preprocessing = {{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};
  return model;
}

Model tiny_concat(uint64_t seed) { return with_parameters(concat_model().graph, seed); }

Model tiny_mobile(uint64_t seed) {
  Graph graph;
  const auto conv = [&](const std::string& name, const Conv2dAttrs& attrs, ValueId x) {
    return graph.add(name + ".bn", BatchNormAttrs{}, {graph.add(name, attrs, {x})});
  };
  const auto swish = [&](const std::string& name, ValueId x) { return graph.add(name + ".swish", HardSwishAttrs{}, {x}); };
  const ValueId input = graph.add("input", InputAttrs{{3, 9, 8}}, {});
  const ValueId stem = swish("stem", conv("stem", {.out_channels = 6, .kernel = 3, .padding = 1}, input));
  const ValueId wide = swish("expand", conv("expand", {.out_channels = 9}, stem));
  const Conv2dAttrs deep{.out_channels = 9, .kernel = 3, .stride = 2, .padding = {0, 0, 1, 1}, .groups = 9};
  const ValueId x = swish("deep", conv("deep", deep, wide));
  const ValueId squeezed =
      graph.add("squeeze", Conv2dAttrs{.out_channels = 4, .bias = true}, {graph.add("mean", GlobalAvgPoolAttrs{}, {x})});
  const ValueId excited =
      graph.add("excite", Conv2dAttrs{.out_channels = 9, .bias = true}, {graph.add("squeeze.relu", ReluAttrs{}, {squeezed})});
  const ValueId scaled = graph.add("scaled", ChannelScaleAttrs{}, {x, graph.add("gate", SigmoidAttrs{}, {excited})});
  const ValueId project = conv("project", {.out_channels = 7}, scaled);
  const ValueId again =
      graph.add("again.leaky", LeakyReluAttrs{0.125}, {conv("again", {.out_channels = 7, .kernel = 3, .padding = 1}, project)});
  const ValueId sum = graph.add("sum", AddAttrs{}, {again, project});
  const ValueId last = graph.add("last.leaky", LeakyReluAttrs{0.125}, {conv("last", {.out_channels = 10}, sum)});
  const ValueId flat = graph.add("flatten", FlattenAttrs{}, {graph.add("pool", GlobalAvgPoolAttrs{}, {last})});
  graph.set_output(graph.add("fc", LinearAttrs{5, true}, {flat}));
  return with_parameters(std::move(graph), seed);
}

SessionOptions six_at_a_time(MemoryResource* memory) {
  SessionOptions made;
  made.batch = 6;
  made.threads = 2;
  made.memory = memory;
  return made;
}

Graph random_graph(uint64_t seed) { return Gardener(seed).grow(); }

PrunePlan random_plan(const Model& model, uint64_t seed) {
  Random random(seed ^ 0x9e3779b97f4a7c15ULL);
  PrunePlan plan;
  for (const Group& group : find_groups(model.graph)) {
    if (!group.prunable) continue;
    const int64_t width = group.channels / group.conv_groups;
    const auto count = 1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(width)));
    GroupCut cut{group.name, group.channels, {}, {}};
    for (int64_t slice = 0; slice < group.conv_groups; ++slice) {
      std::vector<int64_t> order = random.permutation(width);
      order.resize(at(count));
      for (const int64_t c : order) cut.keep.push_back(slice * width + c);
    }
    std::sort(cut.keep.begin(), cut.keep.end());
    if (std::ssize(cut.keep) < cut.channels) plan.groups.push_back(cut);
  }
  for (const Node& node : model.graph.nodes()) {
    if (!(node.is<Conv2dAttrs>() || node.is<LinearAttrs>()) || random.below(3) != 0) continue;
    WeightCut cut{node.name, {}, 0};
    cut.keep.assign(at(model.parameter(node.name + ".weight").shape().elements()), 1);
    for (size_t i = 1; i < cut.keep.size(); ++i) {  // the first one stays: a layer is never emptied
      cut.keep[i] = random.below(3) == 0 ? 0 : 1;
      cut.removed += cut.keep[i] == 0 ? 1 : 0;
    }
    plan.weights.push_back(cut);
  }
  return plan;
}

std::vector<float> random_input(const Graph& graph, int64_t samples, uint64_t seed) {
  Random random(seed + 77);
  std::vector<float> input(at(samples * graph.input_shape().elements()));
  for (float& value : input) value = small_integer(random, -4, 4);
  return input;
}

Statistics take_statistics(const Model& model, const Probes& probes, const std::vector<float>& input, int64_t samples) {
  const ReferenceValues run = run_reference_nchw(model, input, samples);
  const auto stored = [&](const std::string& name) {
    const std::vector<double>& values = run.at(name);
    return std::vector<float>(values.begin(), values.end());
  };
  Statistics statistics;
  statistics.model_hash = hash(model);
  statistics.samples = samples;
  for (const auto& [name, sums] : probes.values) {
    const ImageShape& shape = model.graph.node(model.graph.at(name)).shape;
    const ChannelSums taken = channel_sums(stored(name), samples, shape, probes.threshold);
    ValueSums& value = statistics.values[name];
    value.channels = shape.channels;
    value.samples = samples;
    value.count = taken.count;
    value.nonfinite = taken.nonfinite;
    value.sum = taken.sum;
    value.sum_sq = taken.sum_sq;
    value.active = taken.active;
  }
  for (const std::string& name : probes.tap_norms) {
    const Node& node = model.graph.node(model.graph.at(name));
    const Node& source = model.graph.node(node.inputs.at(0));
    Conv2dAttrs attrs;
    if (node.is<Conv2dAttrs>()) attrs = node.as<Conv2dAttrs>();
    statistics.tap_norms[name] = {source.shape.channels, attrs.kernel, samples,
                                  tap_norms(stored(source.name), samples, source.shape, attrs.window())};
  }
  return statistics;
}

std::vector<std::string> names(const Graph& graph, const std::vector<ValueId>& values) {
  std::vector<std::string> found;
  for (const ValueId v : values) found.push_back(graph.node(v).name);
  return found;
}

const Group& group_named(const std::vector<Group>& groups, const std::string& name) {
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == name; });
  ELEK_CHECK(found != groups.end(), "no group '" + name + "'");
  return *found;
}

}  // namespace elek::test
