// SPDX-License-Identifier: Apache-2.0
// What an operator declares. Every operator is one struct in elek/ops: its attributes, its name in model files, its shape
// inference, its parameters, its multiply-accumulates, and how channels pass it. elek/graph.h puts the structs into one variant
// and asks them; the rest of elek asks elek/graph.h. An operator knows no backend, no memory and no other operator.
// Tests: tests/unit/op_test.cpp, tests/unit/graph_test.cpp
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "elek/activation.h"
#include "elek/export.h"
#include "elek/types.h"
#include "elek/window.h"

namespace elek {

/// What kind of computation an operator is. Backends choose layouts, storages and kernels by it.
enum class OpClass : uint8_t {
  kInput,       // the network's input
  kConv,        // trained weights slide over an image; other operators can be fused after it
  kLinear,      // trained weights times a feature vector; other operators can be fused after it
  kBatchNorm,   // scale and shift of each channel
  kAdd,         // sum of two values
  kActivation,  // a function of each element
  kWindow,      // a window slides over each channel
  kReduction,   // each channel becomes one number
  kScale,       // multiplies each channel by a number of its own, the second input
  kGather,      // each output channel is a copy of an input channel, or zero
  kConcat,      // the channels of all inputs, one input after the other
  kReshape,     // the same elements as a feature vector, in the order channel, row, column
};

/// True if an output element depends only on the same element of each input. One epilogue kernel runs these, in place if
/// allowed.
[[nodiscard]] constexpr bool is_elementwise(OpClass of) noexcept {
  return of == OpClass::kBatchNorm || of == OpClass::kAdd || of == OpClass::kActivation;
}

/// How channels pass an operator. Pruning needs it to cut a network.
struct ChannelFlow {
  enum class How : uint8_t {
    kSeparates,  // an output channel may depend on every input channel of its group: inputs and outputs are cut independently
    kTies,       // output channel c depends on channel c of each input: they are cut together
    kMaps,       // a removed input channel reads as zero, a removed output channel leaves the operator
    kJoins,      // the output's channels are those of all inputs, one input after the other: a channel is cut in both
  };
  How how = How::kTies;
  int64_t groups = 1;  // kSeparates: number of convolution groups; equal numbers of channels must stay in each
};

/// What a parameter is. The shape's axis 0 counts output channels.
enum class ParameterRole : uint8_t {
  kWeight,           // multiplies the input; axis 1 counts the input channels of one group; trained
  kVector,           // one number per channel; trained
  kRunningMean,      // one number per channel; measured, not trained
  kRunningVariance,  // one number per channel, at least 0; measured, not trained
};
[[nodiscard]] constexpr bool is_trained(ParameterRole role) noexcept {
  return role == ParameterRole::kWeight || role == ParameterRole::kVector;
}
struct OpParameter {
  std::string_view suffix;  // ".weight": the parameter's name is the node's name, then this
  Shape shape;
  ParameterRole role = ParameterRole::kVector;
};

/// The channels of a node's first input and of its output that stay after a cut, ascending.
struct KeptChannels {
  std::span<const int64_t> input;
  std::span<const int64_t> output;
};

/// Range of an integer attribute, both ends included.
struct IntRange {
  int64_t low = 0;
  int64_t high = 0;
};
inline constexpr IntRange kChannelRange{1, int64_t{1} << 31};  // channel indices are int32
inline constexpr IntRange kWindowRange{1, 1 << 16};  // kernel, stride: larger than any real one, small enough not to overflow
inline constexpr IntRange kPaddingRange{0, 1 << 16};
/// kInputs of an operator that takes any number of inputs from two on.
inline constexpr size_t kTwoOrMore = static_cast<size_t>(-1);

/// Of an attribute that came later: it is left out of files and hashes where it has this value, which is what files and hashes
/// without it mean. So files and recorded hashes of older versions stay as they are.
template <typename T>
struct OmittedAt {
  T value;
};
template <typename T>
OmittedAt(T) -> OmittedAt<T>;
/// Whether an attribute with this value is left out; `more`: what follows it in visit(): its range, OmittedAt, or nothing.
template <typename Field, typename... More>
[[nodiscard]] constexpr bool is_omitted(const Field& field, const More&... more) {
  if constexpr (sizeof...(More) == 0) {
    return false;
  } else {
    const auto& last = std::get<sizeof...(More) - 1>(std::tie(more...));
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(last)>, OmittedAt<Field>>) {
      return field == last.value;
    } else {
      return false;
    }
  }
}

/// Range of a real attribute.
enum class RealRange : uint8_t { kFinite, kPositive };  // kPositive: finite and above 0
[[nodiscard]] bool fits(RealRange which, double value);
[[nodiscard]] std::string_view text_of(RealRange which);  // "finite", "positive and finite"

/// A node's inputs for shape inference, and its name for error messages.
class ELEK_API NodeInputs {
 public:
  NodeInputs(std::string_view op, const std::string& name, std::span<const ImageShape> shapes)
      : op_(op), name_(name), shapes_(shapes) {}
  [[nodiscard]] const ImageShape& operator[](size_t input) const { return shapes_[input]; }
  [[nodiscard]] std::span<const ImageShape> shapes() const noexcept { return shapes_; }
  [[nodiscard]] std::string who() const;  // "conv2d 'layer1.0.conv2': "
  /// Output shape of a sliding window with padding (zero or -infinity); ContractError if the window does not fit.
  [[nodiscard]] ImageShape slide(int64_t channels, const Window& window, Rounding rounding = Rounding::kDown) const;
  /// ContractError naming operator, node and attribute unless the value is in the range.
  void check_range(std::string_view attribute, int64_t value, IntRange range) const;
  void check_range(std::string_view attribute, const Extent& value, IntRange range) const;
  void check_range(std::string_view attribute, const Padding& value, IntRange range) const;
  void check_range(std::string_view attribute, double value, RealRange which) const;

 private:
  std::string_view op_;
  const std::string& name_;
  std::span<const ImageShape> shapes_;
};

/// What every operator must have. An operator with trained weights must also have macs(), parameters() and cut(). For others
/// these are optional, and so is window(); elek/graph.h gives the defaults.
/// * fields(self, visit), static: calls visit(name, member[, IntRange or RealRange][, OmittedAt]) per attribute, in the order
/// of
///   model files
/// * infer(inputs): shape of the output; ContractError if the inputs or attributes do not fit
/// * channel_flow(inputs): how channels pass
/// * parameters(inputs, output): names and shapes of its parameters
/// * macs(inputs, output): multiply-accumulates of one sample
/// * cut(inputs, kept): the attributes after a cut
/// * window(): the window that it reads at each position
/// * activation(): the function; required for class kActivation
template <typename T>
concept Operator = std::equality_comparable<T> && std::default_initializable<T> &&
    requires(const T& op, const NodeInputs& node, std::span<const ImageShape> inputs) {
  { T::kName } -> std::convertible_to<std::string_view>;
  { T::kInputs } -> std::convertible_to<size_t>;
  { T::kClass } -> std::convertible_to<OpClass>;
  { op.infer(node) } -> std::same_as<ImageShape>;
  { op.channel_flow(inputs) } -> std::same_as<ChannelFlow>;
} &&((T::kClass != OpClass::kConv && T::kClass != OpClass::kLinear) ||
     requires(const T& op, std::span<const ImageShape> inputs, const ImageShape& output, const KeptChannels& kept) {
       { op.macs(inputs, output) } -> std::same_as<int64_t>;
       { op.parameters(inputs, output) } -> std::same_as<std::vector<OpParameter>>;
       { op.cut(inputs, kept) } -> std::same_as<T>;
     }) &&
    (T::kClass != OpClass::kActivation || requires(const T& op) {
      { op.activation() } -> std::same_as<Activation>;
    });

}  // namespace elek
