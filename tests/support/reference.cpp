// SPDX-License-Identifier: Apache-2.0
// The interpreter in double precision: loops like the definitions in elek/graph.h, one value after the other. It is slow on
// purpose, and shares no idea with the code under test.
// Tests: tests/self/reference_test.cpp
#include "tests/support/reference.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "tests/support/activation.h"

namespace elek::test {
namespace {

size_t at4(const ImageShape& shape, int64_t n, int64_t c, int64_t h, int64_t w) {
  return static_cast<size_t>(((n * shape.channels + c) * shape.height + h) * shape.width + w);
}

std::vector<double> zeros(int64_t samples, const ImageShape& shape) {
  return std::vector<double>(static_cast<size_t>(samples * shape.elements()), 0.0);
}

double pool_window(const Node& node, const PoolAttrs& attrs, const ImageShape& in, std::span<const double> x, int64_t n,
                   int64_t c, int64_t p, int64_t q) {
  const bool is_max = node.is<MaxPoolAttrs>();
  const bool counts_padding = !is_max && node.as<AvgPoolAttrs>().count_include_pad;
  const Padding& pad = attrs.padding;
  double result = is_max ? -std::numeric_limits<double>::infinity() : 0.0;
  int64_t counted = 0;  // positions of the divisor
  for (int64_t r = 0; r < attrs.kernel.height; ++r) {
    for (int64_t s = 0; s < attrs.kernel.width; ++s) {
      const int64_t h = p * attrs.stride.height - pad.top + r;
      const int64_t w = q * attrs.stride.width - pad.left + s;
      const bool in_image = h >= 0 && h < in.height && w >= 0 && w < in.width;
      const bool in_padding = h < in.height + pad.bottom && w < in.width + pad.right;  // further ones are ceil_mode's
      counted += in_image || (counts_padding && in_padding) ? 1 : 0;
      if (!in_image) {
        continue;
      }
      const double value = x[at4(in, n, c, h, w)];
      if (!is_max) {
        result += value;
      } else if (std::isnan(value) || value > result) {
        result = value;
      }
      if (std::isnan(result)) {
        return result;
      }
    }
  }
  return is_max ? result : result / static_cast<double>(counted);
}

double one_value(const Node& node, const ImageShape& in, std::span<const double> x, int64_t n, int64_t c, int64_t p,
                 int64_t q) {
  if (node.is<MaxPoolAttrs>()) {
    return pool_window(node, node.as<MaxPoolAttrs>(), in, x, n, c, p, q);
  }
  if (node.is<AvgPoolAttrs>()) {
    return pool_window(node, node.as<AvgPoolAttrs>(), in, x, n, c, p, q);
  }
  if (node.is<GlobalAvgPoolAttrs>()) {
    double sum = 0;
    for (int64_t h = 0; h < in.height; ++h) {
      for (int64_t w = 0; w < in.width; ++w) {
        sum += x[at4(in, n, c, h, w)];
      }
    }
    return sum / static_cast<double>(in.positions());
  }
  if (op_class(node) == OpClass::kActivation) {
    return reference_activation(activation_of(node.attrs), x[at4(in, n, c, p, q)]);
  }
  ELEK_CHECK(node.is<ChannelMapAttrs>(), "the reference knows no operator '" + std::string(op_name(node)) + "'");
  const auto& map = node.as<ChannelMapAttrs>();
  const int64_t source = map.source[static_cast<size_t>(c)];
  return source < 0 ? 0.0 : x[at4(in, n, source, p * map.stride, q * map.stride)];
}

/// Sample by sample: the elements of all inputs, one input after the other.
std::vector<double> concat(const std::vector<std::span<const double>>& inputs, int64_t samples) {
  std::vector<double> y;
  for (int64_t n = 0; n < samples; ++n) {
    for (const std::span<const double> each : inputs) {
      const size_t size = each.size() / static_cast<size_t>(samples);
      const auto first = each.begin() + n * static_cast<int64_t>(size);
      y.insert(y.end(), first, first + static_cast<int64_t>(size));
    }
  }
  return y;
}

struct BatchNormParameters {
  std::span<const float> gamma, beta, mean, variance;
};

ReferenceMoments batch_moments(std::span<const double> x, int64_t samples, const ImageShape& shape) {
  ReferenceMoments moments;
  const auto count = static_cast<double>(samples * shape.positions());
  for (int64_t c = 0; c < shape.channels; ++c) {
    const auto sum_of = [&](auto term) {
      double sum = 0;
      for (int64_t n = 0; n < samples; ++n) {
        for (int64_t h = 0; h < shape.height; ++h) {
          for (int64_t w = 0; w < shape.width; ++w) {
            sum += term(x[at4(shape, n, c, h, w)]);
          }
        }
      }
      return sum;
    };
    const double mean = sum_of([](double v) { return v; }) / count;
    const double squares = sum_of([&](double v) { return (v - mean) * (v - mean); });
    moments.mean.push_back(mean);
    moments.biased_variance.push_back(squares / count);
    moments.variance.push_back(squares / (count > 1 ? count - 1 : count));
  }
  return moments;
}

std::vector<double> batch_norm(const Node& node, std::span<const double> x, int64_t samples, const BatchNormParameters& with,
                               const ReferenceMoments* moments) {
  const ImageShape& shape = node.shape;
  std::vector<double> y = zeros(samples, shape);
  for (int64_t c = 0; c < shape.channels; ++c) {
    const auto k = static_cast<size_t>(c);
    const double mean = moments != nullptr ? moments->mean[k] : double{with.mean[k]};
    const double variance = moments != nullptr ? moments->biased_variance[k] : double{with.variance[k]};
    const double deviation = std::sqrt(variance + node.as<BatchNormAttrs>().eps);
    for (int64_t n = 0; n < samples; ++n) {
      for (int64_t h = 0; h < shape.height; ++h) {
        for (int64_t w = 0; w < shape.width; ++w) {
          const size_t i = at4(shape, n, c, h, w);
          y[i] = (x[i] - mean) / deviation * double{with.gamma[k]} + double{with.beta[k]};
        }
      }
    }
  }
  return y;
}

ReferenceValues interpret(const Model& model, std::vector<double> input, int64_t samples, const ReferenceOptions& options) {
  const Graph& graph = model.graph;
  ELEK_CHECK(static_cast<int64_t>(input.size()) == samples * graph.input_shape().elements(),
             "the reference got " + std::to_string(input.size()) + " input elements for " + std::to_string(samples) +
                 " samples of " + to_string(graph.input_shape()));
  ReferenceValues run;
  run.samples = samples;
  run.output = graph.node(graph.output()).name;
  for (const Node& node : graph.nodes()) {
    std::vector<double>& y = run.values[node.name];
    if (node.is<InputAttrs>()) {
      y = std::move(input);
      continue;
    }
    const Node& source = graph.node(node.inputs[0]);
    const std::vector<double>& x = run.values.at(source.name);
    const auto parameter = [&](const char* suffix) { return model.parameter(node.name + suffix).f32(); };
    if (node.is<Conv2dAttrs>()) {
      const auto& attrs = node.as<Conv2dAttrs>();
      y = reference_conv2d(x, samples, source.shape, attrs, parameter(".weight"),
                           attrs.bias ? parameter(".bias") : std::span<const float>());
    } else if (node.is<LinearAttrs>()) {
      Conv2dAttrs attrs;  // a linear layer is a 1x1 convolution of one position
      attrs.out_channels = node.as<LinearAttrs>().out_features;
      y = reference_conv2d(x, samples, source.shape, attrs, parameter(".weight"),
                           node.as<LinearAttrs>().bias ? parameter(".bias") : std::span<const float>());
    } else if (node.is<BatchNormAttrs>()) {
      const BatchNormParameters with{parameter(".weight"), parameter(".bias"), parameter(".running_mean"),
                                     parameter(".running_var")};
      const ReferenceMoments* moments = nullptr;
      if (options.batch_statistics) {
        moments = &(run.moments[node.name] = batch_moments(x, samples, node.shape));
      }
      y = batch_norm(node, x, samples, with, moments);
    } else {
      std::vector<std::span<const double>> inputs;
      for (const ValueId id : node.inputs) {
        inputs.emplace_back(run.values.at(graph.node(id).name));
      }
      y = reference_node(node, samples, source.shape, inputs);
    }
  }
  return run;
}

}  // namespace

const std::vector<double>& ReferenceValues::at(const std::string& name) const {
  const auto found = values.find(name);
  ELEK_CHECK(found != values.end(), "the reference has no value '" + name + "'");
  return found->second;
}

std::vector<double> reference_conv2d(std::span<const double> x, int64_t samples, const ImageShape& input,
                                     const Conv2dAttrs& attrs, std::span<const float> weight, std::span<const float> bias) {
  const int64_t rows = attrs.kernel.height, columns = attrs.kernel.width;
  const Padding& pad = attrs.padding;
  const auto positions = [](int64_t size, int64_t pads, int64_t kernel, int64_t dilation, int64_t stride) {
    return (size + pads - (dilation * (kernel - 1) + 1)) / stride + 1;
  };
  const int64_t group_inputs = input.channels / attrs.groups;
  const int64_t group_outputs = attrs.out_channels / attrs.groups;
  const ImageShape shape{attrs.out_channels,
                         positions(input.height, pad.top + pad.bottom, rows, attrs.dilation.height, attrs.stride.height),
                         positions(input.width, pad.left + pad.right, columns, attrs.dilation.width, attrs.stride.width)};
  ELEK_CHECK(static_cast<int64_t>(weight.size()) == attrs.out_channels * group_inputs * rows * columns &&
                 static_cast<int64_t>(x.size()) == samples * input.elements(),
             "reference conv2d: operands of other sizes than the attributes say");
  std::vector<double> y = zeros(samples, shape);
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t k = 0; k < shape.channels; ++k) {
      for (int64_t p = 0; p < shape.height; ++p) {
        for (int64_t q = 0; q < shape.width; ++q) {
          double sum = bias.empty() ? 0.0 : double{bias[static_cast<size_t>(k)]};
          for (int64_t c = 0; c < group_inputs; ++c) {
            for (int64_t r = 0; r < rows; ++r) {
              for (int64_t s = 0; s < columns; ++s) {
                const int64_t h = p * attrs.stride.height - pad.top + r * attrs.dilation.height;
                const int64_t w = q * attrs.stride.width - pad.left + s * attrs.dilation.width;
                if (h >= 0 && h < input.height && w >= 0 && w < input.width) {
                  const auto tap = static_cast<size_t>(((k * group_inputs + c) * rows + r) * columns + s);
                  sum += double{weight[tap]} * x[at4(input, n, k / group_outputs * group_inputs + c, h, w)];
                }
              }
            }
          }
          y[at4(shape, n, k, p, q)] = sum;
        }
      }
    }
  }
  return y;
}

std::vector<double> reference_node(const Node& node, int64_t samples, const ImageShape& input,
                                   const std::vector<std::span<const double>>& inputs) {
  const std::span<const double> x = inputs.at(0);
  if (node.is<FlattenAttrs>()) {
    return {x.begin(), x.end()};
  }
  if (node.is<ConcatAttrs>()) {
    return concat(inputs, samples);
  }
  std::vector<double> y = zeros(samples, node.shape);
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t c = 0; c < node.shape.channels; ++c) {
      for (int64_t p = 0; p < node.shape.height; ++p) {
        for (int64_t q = 0; q < node.shape.width; ++q) {
          const size_t i = at4(node.shape, n, c, p, q);
          if (node.is<ChannelScaleAttrs>()) {
            y[i] = x[i] * inputs.at(1)[static_cast<size_t>(n * node.shape.channels + c)];
            continue;
          }
          y[i] = node.is<AddAttrs>() ? x[i] + inputs.at(1)[i] : one_value(node, input, x, n, c, p, q);
        }
      }
    }
  }
  return y;
}

ReferenceValues run_reference(const Model& model, const std::vector<uint8_t>& nhwc_pixels, int64_t samples,
                              const ReferenceOptions& options) {
  const ImageShape& shape = model.graph.input_shape();
  ELEK_CHECK(static_cast<int64_t>(nhwc_pixels.size()) == samples * shape.elements() &&
                 static_cast<int64_t>(model.preprocessing.mean.size()) == shape.channels &&
                 static_cast<int64_t>(model.preprocessing.stddev.size()) == shape.channels,
             "the reference got " + std::to_string(nhwc_pixels.size()) + " pixels for " + std::to_string(samples) +
                 " samples of " + to_string(shape) + ", preprocessing for " + std::to_string(model.preprocessing.mean.size()) +
                 " channels");
  std::vector<double> x = zeros(samples, shape);
  size_t pixel = 0;
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t h = 0; h < shape.height; ++h) {
      for (int64_t w = 0; w < shape.width; ++w) {
        for (int64_t c = 0; c < shape.channels; ++c) {
          const auto k = static_cast<size_t>(c);
          x[at4(shape, n, c, h, w)] =
              (static_cast<double>(nhwc_pixels[pixel++]) / 255.0 - double{model.preprocessing.mean[k]}) /
              double{model.preprocessing.stddev[k]};
        }
      }
    }
  }
  return interpret(model, std::move(x), samples, options);
}

ReferenceValues run_reference_nchw(const Model& model, const std::vector<float>& nchw, int64_t samples,
                                   const ReferenceOptions& options) {
  return interpret(model, std::vector<double>(nchw.begin(), nchw.end()), samples, options);
}

}  // namespace elek::test
