// SPDX-License-Identifier: Apache-2.0
// See adam.h. Tests: tests/train/adam_test.cpp
#include "train/adam.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/threads.h"

namespace elek::train {
namespace {

constexpr double kMeanDecay = 0.9, kSquareDecay = 0.999, kEpsilon = 1e-8;  // of the paper
constexpr int64_t kPart = 1 << 14;                                         // elements that a thread takes at once

double root_mean_square(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += double{v} * double{v};
  return std::sqrt(sum / static_cast<double>(std::max<size_t>(1, values.size())));
}

size_t count_of(const Trainer& trainer) {
  size_t count = 0;
  for (const Parameter& p : trainer.parameters()) count += p.values.size();
  return count;
}

}  // namespace

Adam::Adam(Trainer& trainer, double relative_step, int threads, MemoryResource& memory)
    : trainer_(trainer),
      threads_(threads),
      mean_(count_of(trainer) * sizeof(float), memory, {"Adam's averages of gradients", Use::kWeights}),
      square_(count_of(trainer) * sizeof(float), memory, {"Adam's averages of squares", Use::kWeights}) {
  const size_t count = count_of(trainer);
  std::fill_n(static_cast<float*>(mean_.data()), count, 0.0F);
  std::fill_n(static_cast<float*>(square_.data()), count, 0.0F);
  double of_weights = 0;  // a layer's weights come before its bias
  for (const Parameter& p : trainer.parameters()) {
    double size = root_mean_square(p.values);
    if (!p.is_bias) of_weights = size;
    if (size == 0) size = of_weights;
    steps_.push_back(relative_step * size);
  }
}

void Adam::step(double factor) {
  ++taken_;
  const auto taken = static_cast<double>(taken_);
  const auto mean_share = static_cast<float>(1 / (1 - std::pow(kMeanDecay, taken)));
  const auto square_share = static_cast<float>(1 / (1 - std::pow(kSquareDecay, taken)));
  constexpr auto kMean = static_cast<float>(kMeanDecay), kSquare = static_cast<float>(kSquareDecay);
  constexpr auto kMeanNew = static_cast<float>(1 - kMeanDecay), kSquareNew = static_cast<float>(1 - kSquareDecay);
  size_t before = 0, index = 0;
  for (const Parameter& p : trainer_.parameters()) {
    const auto step = static_cast<float>(steps_[index++] * factor);
    float *const mean = static_cast<float*>(mean_.data()) + before, *const square =
                                                                        static_cast<float*>(square_.data()) + before;
    const bool masked = !p.is_bias;
    const int64_t count = std::ssize(p.values);
    for_parts(static_cast<int>(std::clamp<int64_t>((count + kPart - 1) / kPart, 1, threads_)), [&](int part) {
      const int64_t parts = std::clamp<int64_t>((count + kPart - 1) / kPart, 1, threads_);
      for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i) {
        const float g = p.gradient[at(i)];
        float& value = p.values[at(i)];
        mean[i] = kMean * mean[i] + kMeanNew * g;
        square[i] = kSquare * square[i] + kSquareNew * g * g;
        const float moved =
            value - step * mean[i] * mean_share / (std::sqrt(square[i] * square_share) + static_cast<float>(kEpsilon));
        value = masked && value == 0 ? 0.0F : moved;
      }
    });
    before += at(count);
  }
}

}  // namespace elek::train
