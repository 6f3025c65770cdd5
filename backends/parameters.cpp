// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/session_test.cpp
#include "backends/parameters.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace elek::backends {

std::span<const float> parameter(const Model& model, const std::string& name, int64_t elements) {
  const std::span<const float> values = model.parameter(name).f32();
  ELEK_CHECK(static_cast<int64_t>(values.size()) == elements,
             "'" + name + "': expected " + std::to_string(elements) + " elements, found " + std::to_string(values.size()));
  return values;
}

void check_preprocessing(const Preprocessing& p, int64_t channels) {
  ELEK_CHECK(static_cast<int64_t>(p.mean.size()) == channels && static_cast<int64_t>(p.stddev.size()) == channels,
             "preprocessing: expected a mean and a deviation for each of " + std::to_string(channels) + " channels, found " +
                 std::to_string(p.mean.size()) + " and " + std::to_string(p.stddev.size()));
}

void check_weights(const Tensor& weight, const FusedNode& f, const ImageShape& x, const ImageShape& y) {
  const Shape expected = op_parameters(f.node.attrs, {&x, 1}, y).front().shape;
  ELEK_CHECK(weight.shape() == expected,
             "'" + f.node.name + ".weight': expected " + to_string(expected) + ", found " + to_string(weight.shape()));
}

void moment_parameters(const Model& model, const WatchedMoments& m, std::byte* block) {
  const auto channels = static_cast<size_t>(m.channels);
  auto* doubles = reinterpret_cast<double*>(block);
  auto* floats = reinterpret_cast<float*>(doubles + 2 * channels);
  const auto copy = [&](const char* name, auto* to) {
    const auto from = parameter(model, m.batch_norm + name, m.channels);
    std::copy(from.begin(), from.end(), to);
  };
  copy(".running_mean", doubles);
  copy(".running_var", doubles + channels);
  copy(".weight", floats);
  copy(".bias", floats + channels);
}

}  // namespace elek::backends
