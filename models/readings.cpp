// SPDX-License-Identifier: Apache-2.0
#include "models/readings.h"

#include <algorithm>
#include <sstream>
#include <utility>

namespace elek::detail {
namespace {

constexpr double kEpsilon = 1e-5;       // PyTorch's
constexpr int64_t kImageNetSide = 224;  // of stems that make the image smaller
constexpr int64_t kCifarSide = 32;

std::string text_of(const std::vector<float>& values) {
  std::ostringstream text;
  for (size_t i = 0; i < values.size(); ++i) text << (i > 0 ? "," : "") << values[i];
  return text.str();
}

std::string text_of(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string text_of(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

/// Decides what the file does not show, and keeps account of where each answer is from.
class Decisions {
 public:
  Decisions(const Structure& structure, const WeightsOptions& options, const Beside& beside)
      : structure_(structure), options_(options), beside_(beside) {}

  Reading reading() {
    Reading made;
    stem(made);
    stages(made);
    shortcuts(made);
    made.epsilon = options_.epsilon.value_or(kEpsilon);
    if (has_norms()) take(Unseen::kEpsilon, text_of(made.epsilon), options_.epsilon ? Taken::kGiven : Taken::kAssumed);
    made.input = input(made.stem_stride);
    for (const std::string& guess : structure_.guessed) take(Unseen::kOrder, guess, Taken::kAssumed);
    return made;
  }

  Preprocessing preprocessing(int64_t channels) {
    Preprocessing made = default_preprocessing(channels);
    std::string source = Taken::kAssumed;
    if (options_.preprocessing) {
      made = *options_.preprocessing;
      source = Taken::kGiven;
    } else if (beside_.preprocessing && std::ssize(beside_.preprocessing->mean) == channels) {
      made = *beside_.preprocessing;
      source = beside_.preprocessing_from;
    }
    const bool imagenet = source == Taken::kAssumed && channels == 3;
    take(Unseen::kPixels, detail::text_of(made) + (imagenet ? " (ImageNet's)" : ""), source);
    return made;
  }

  [[nodiscard]] std::vector<Taken> taken() && { return std::move(taken_); }

 private:
  void take(Unseen what, std::string value, std::string source) {
    taken_.push_back({what, std::move(value), std::move(source)});
  }

  [[nodiscard]] bool has_norms() const {
    return structure_.stem.front().norm || structure_.stages.front().front().branch.front().norm;
  }

  template <typename Holds>
  [[nodiscard]] bool any_block(const Holds& holds) const {
    return std::any_of(structure_.stages.begin(), structure_.stages.end(),
                       [&](const std::vector<Block>& stage) { return std::any_of(stage.begin(), stage.end(), holds); });
  }

  void stem(Reading& made) {
    const bool deep = structure_.stem.size() > 1;
    const std::string kernel = std::to_string(structure_.stem.front().conv.kernel());
    const bool large = stem_kind(structure_) == Stem::kImageNet;
    made.stem_stride = options_.stem_stride.value_or(large ? 2 : 1);
    made.max_pool = options_.max_pool.value_or(large);
    const bool given = options_.stem || (options_.stem_stride && options_.max_pool);
    take(Unseen::kStem,
         kernel + "x" + kernel + " with stride " + std::to_string(made.stem_stride) + (deep ? ", two more 3x3" : "") +
             (made.max_pool ? ", then a 3x3 max pool with stride 2" : ", no max pool"),
         given ? Taken::kGiven : Taken::kAssumed);
  }

  void stages(Reading& made) {
    const size_t count = structure_.stages.size();
    if (!options_.strides.empty() && options_.strides.size() != count) {
      throw UsageError("strides for " + std::to_string(options_.strides.size()) + " stages were given, but the network has " +
                       std::to_string(count));
    }
    made.strides.assign(count, 2);
    made.strides[0] = beside_.stride_in_first_stage.value_or(false) ? 2 : 1;
    std::string source = beside_.stride_in_first_stage ? beside_.config_name : Taken::kAssumed;
    if (!options_.strides.empty()) {
      made.strides = options_.strides;
      source = Taken::kGiven;
    }
    take(Unseen::kStages, text_of(made.strides) + ", no dilation", source);
  }

  void shortcuts(Reading& made) {
    if (structure_.has_option_a()) {
      made.zeros_behind = options_.zeros_behind.value_or(false);
      take(Unseen::kShortcut,
           std::string("option A (no projections in the file), its zero channels ") +
               (made.zeros_behind ? "behind" : "on both sides"),
           options_.zeros_behind ? Taken::kGiven : Taken::kAssumed);
    }
    if (any_block([](const Block& block) { return block.pooled_projection; })) {
      take(Unseen::kProjection,
           "an average pool before the projections (ResNet-D), because index 0 of their lists has no weights", Taken::kAssumed);
    }
    if (any_block([](const Block& block) { return block.is_bottleneck(); })) {
      made.stride_on_first = options_.stride_on_first.value_or(beside_.stride_on_first.value_or(false));
      const std::string source = beside_.stride_on_first ? beside_.config_name : Taken::kAssumed;
      take(Unseen::kStride, made.stride_on_first ? "the first 1x1 of a bottleneck" : "the 3x3 of a bottleneck (as torchvision)",
           options_.stride_on_first ? Taken::kGiven : source);
    }
    if (any_block([](const Block& block) { return block.squeeze.has_value(); })) {
      take(Unseen::kGate, "ReLU, then a sigmoid gate", Taken::kAssumed);
    }
  }

  ImageShape input(int64_t stem_stride) {
    const int64_t channels = structure_.input_channels();
    const bool known = beside_.height && beside_.width && beside_.channels.value_or(channels) == channels;
    const int64_t side = stem_stride > 1 ? kImageNetSide : kCifarSide;
    ImageShape made{channels, known ? *beside_.height : side, known ? *beside_.width : side};
    std::string source = known ? beside_.input_from : Taken::kAssumed;
    if (!known && options_.images && side == kCifarSide) {  // small images are usually learnt as they are
      made.height = options_.images->height;
      made.width = options_.images->width;
      source = "the images";
    }
    if (options_.input) {
      made = *options_.input;
      source = Taken::kGiven;
    }
    take(Unseen::kInputSize, to_string(made), source);
    return made;
  }

  const Structure& structure_;
  const WeightsOptions& options_;
  const Beside& beside_;
  std::vector<Taken> taken_;
};

}  // namespace

Answers answer(const Structure& structure, const WeightsOptions& options, const Beside& beside) {
  Decisions decisions(structure, options, beside);
  Answers made;
  made.reading = decisions.reading();
  made.preprocessing = decisions.preprocessing(structure.input_channels());
  made.taken = std::move(decisions).taken();
  return made;
}

Stem stem_kind(const Structure& structure) {
  constexpr int64_t kLargeWindow = 7;
  const bool large = structure.stem.size() > 1 || structure.stem.front().conv.kernel() >= kLargeWindow;
  return large ? Stem::kImageNet : Stem::kCifar;
}

std::string text_of(const Preprocessing& preprocessing) {
  return "mean " + text_of(preprocessing.mean) + ", std " + text_of(preprocessing.stddev);
}

}  // namespace elek::detail
