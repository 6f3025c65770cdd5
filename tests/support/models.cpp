// SPDX-License-Identifier: Apache-2.0
// Builds the small models of tests. One seed fixes every number on every machine. Tests: tests/self/models_test.cpp
#include "tests/support/models.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/runtime.h"

namespace elek::test {
namespace {

constexpr double kIntegerEps = 0x1.0p-10;  // eps and 1 - eps are exact in f32, their sum is exactly 1

/// Adds the blocks of a residual network to a graph.
class Builder {
 public:
  explicit Builder(const TinyOptions& options) : options_(options) {}

  Graph build() {
    ValueId x = graph_.add("input", InputAttrs{options_.input}, {});
    x = conv_bn(x, "conv1", "bn1", options_.widths.at(0), 3, 1, 1);
    x = graph_.add("relu", ReluAttrs{}, {x});
    if (options_.max_pool) {
      x = graph_.add("maxpool", MaxPoolAttrs{{3, 2, 1}}, {x});
    }
    for (size_t stage = 0; stage < options_.widths.size(); ++stage) {
      for (int64_t block = 0; block < options_.blocks; ++block) {
        const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block);
        x = residual_block(x, name, options_.widths[stage], stage > 0 && block == 0 ? 2 : 1, uses_projection(stage));
      }
    }
    x = graph_.add("avgpool", GlobalAvgPoolAttrs{}, {x});
    x = graph_.add("flatten", FlattenAttrs{}, {x});
    graph_.set_output(graph_.add("fc", LinearAttrs{options_.classes, true}, {x}));
    return std::move(graph_);
  }

 private:
  [[nodiscard]] bool uses_projection(size_t stage) const {
    return options_.shortcut == TinyShortcut::kProjection || (options_.shortcut == TinyShortcut::kBoth && stage % 2 == 0) ||
           (options_.bottleneck && stage == 0);  // an expansion at stride 1: every family has a projection here
  }

  ValueId conv_bn(ValueId x, const std::string& conv, const std::string& bn, int64_t channels, int64_t kernel, int64_t stride,
                  int64_t groups) {
    Conv2dAttrs attrs;
    attrs.out_channels = channels;
    attrs.kernel = kernel;
    attrs.stride = stride;
    attrs.padding = kernel / 2;
    attrs.groups = groups;
    x = graph_.add(conv, attrs, {x});
    return graph_.add(bn, BatchNormAttrs{options_.integers ? kIntegerEps : 1e-5}, {x});
  }

  ValueId shortcut(ValueId x, const std::string& name, int64_t channels, int64_t stride, bool projection) {
    if (projection) {
      return conv_bn(x, name + ".downsample.0", name + ".downsample.1", channels, 1, stride, 1);
    }
    ChannelMapAttrs map;
    map.stride = stride;
    const int64_t have = graph_.node(x).shape.channels;
    const int64_t before = std::max<int64_t>(0, (channels - have) / 2);
    for (int64_t c = 0; c < channels; ++c) {
      map.source.push_back(c >= before && c - before < have ? static_cast<int32_t>(c - before) : -1);
    }
    return graph_.add(name + ".shortcut", map, {x});
  }

  ValueId residual_block(ValueId x, const std::string& name, int64_t planes, int64_t stride, bool projection) {
    const int64_t channels = options_.bottleneck ? planes * options_.expansion : planes;
    ValueId y = x;
    if (options_.bottleneck) {
      y = conv_bn(y, name + ".conv1", name + ".bn1", planes, 1, 1, 1);
      y = graph_.add(name + ".relu1", ReluAttrs{}, {y});
      y = conv_bn(y, name + ".conv2", name + ".bn2", planes, 3, stride, options_.groups);
      y = graph_.add(name + ".relu2", ReluAttrs{}, {y});
      y = conv_bn(y, name + ".conv3", name + ".bn3", channels, 1, 1, 1);
    } else {
      y = conv_bn(y, name + ".conv1", name + ".bn1", planes, 3, stride, 1);
      y = graph_.add(name + ".relu1", ReluAttrs{}, {y});
      y = conv_bn(y, name + ".conv2", name + ".bn2", planes, 3, 1, 1);
    }
    if (stride != 1 || graph_.node(x).shape.channels != channels) {
      x = shortcut(x, name, channels, stride, projection);
    }
    const ValueId sum = graph_.add(name + ".add", AddAttrs{}, {y, x});
    return graph_.add(name, ReluAttrs{}, {sum});
  }

  const TinyOptions& options_;
  Graph graph_;
};

bool ends_with(const std::string& name, std::string_view suffix) {
  return name.size() >= suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

/// He-normal weights; or integers: three taps of +1 or -1 per filter, the rest zero.
void fill_weight(std::vector<float>& values, const Shape& shape, bool integers, Random& random) {
  const size_t row = values.size() / static_cast<size_t>(shape[0]);
  const double deviation = std::sqrt(2.0 / static_cast<double>(row));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = integers ? 0.0F : static_cast<float>(deviation * random.normal());
  }
  for (size_t k = 0; integers && k < values.size() / row; ++k) {
    for (int tap = 0; tap < 3; ++tap) {
      values[k * row + random.below(row)] = random.below(4) == 0 ? -1.0F : 1.0F;
    }
  }
}

void fill_channels(std::vector<float>& values, const std::string& name, bool integers, Random& random) {
  const bool is_scale = ends_with(name, ".weight");
  const bool is_variance = ends_with(name, ".running_var");
  for (float& value : values) {
    const double real = is_scale || is_variance ? 0.5 + random.uniform() : 0.3 * random.normal();
    double whole = static_cast<double>(random.below(3)) - 1.0;  // -1, 0, 1
    if (is_scale) {
      whole = whole == 0.0 ? 2.0 : whole;  // -1, 1, 2
    } else if (is_variance) {
      whole = 1.0 - kIntegerEps;
    }
    value = static_cast<float>(integers ? whole : real);
  }
}

}  // namespace

Graph tiny_graph(const TinyOptions& options) {
  ELEK_CHECK(!options.widths.empty() && options.blocks > 0, "a tiny model needs at least one stage and one block");
  return Builder(options).build();
}

std::shared_ptr<const Tensor> tensor_of(const std::vector<float>& values, const Shape& shape, MemoryResource& resource) {
  auto tensor = std::make_shared<Tensor>(shape, DType::kF32, resource, "test parameter");
  ELEK_CHECK(values.size() == tensor->f32().size(),
             "tensor_of: " + std::to_string(values.size()) + " values for " + to_string(shape));
  std::memcpy(tensor->data(), values.data(), tensor->bytes());
  return tensor;
}

Parameters tiny_parameters(const Graph& graph, uint64_t seed, bool integers, MemoryResource& resource) {
  Random random(seed);
  Parameters parameters;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    std::vector<float> values(static_cast<size_t>(spec.shape.elements()));
    if (spec.shape.rank() > 1) {
      fill_weight(values, spec.shape, integers, random);
    } else {
      fill_channels(values, spec.name, integers, random);
    }
    parameters[spec.name] = tensor_of(values, spec.shape, resource);
  }
  return parameters;
}

Model tiny_resnet(const TinyOptions& options, MemoryResource& resource) {
  Model model;
  model.architecture = options.bottleneck ? "tiny_bottleneck" : "tiny_resnet";
  model.graph = tiny_graph(options);
  model.parameters = tiny_parameters(model.graph, options.seed, options.integers, resource);
  for (int64_t c = 0; c < options.input.channels; ++c) {
    const auto shift = static_cast<float>(c);
    model.preprocessing.mean.push_back(options.integers ? 0.0F : 0.45F + 0.03F * shift);
    model.preprocessing.stddev.push_back(options.integers ? 1.0F : 0.25F / (1.0F + 0.1F * shift));
  }
  for (int64_t k = 0; k < options.classes; ++k) {
    model.labels.push_back("class " + std::to_string(k));
  }
  return model;
}

TinyOptions tiny_bottleneck_options() {
  TinyOptions options;
  options.bottleneck = true;
  options.widths = {8, 12};
  options.groups = 4;
  options.shortcut = TinyShortcut::kProjection;
  options.max_pool = true;
  return options;
}

TinyOptions tiny_integer_options() {
  TinyOptions options;
  options.integers = true;
  options.input = {3, 16, 8};  // 4x2 positions before the average pool
  return options;
}

std::vector<uint8_t> tiny_pixels(const ImageShape& shape, int64_t samples, uint64_t seed, bool integers) {
  Random random(seed);
  std::vector<uint8_t> pixels;
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t i = 0; i < shape.positions(); ++i) {
      for (int64_t c = 0; c < shape.channels; ++c) {
        const uint64_t base = static_cast<uint64_t>(20 * (c % 5) + 10 * (n % 4));
        const uint64_t value = integers ? 255 * random.below(2) : base + random.below(140);
        pixels.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return pixels;
}

}  // namespace elek::test
