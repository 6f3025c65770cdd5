// SPDX-License-Identifier: Apache-2.0
// Graph: named values and the nodes that make them, in execution order. A graph says what is computed, not where or how. A node
// makes exactly one value and has the same name. So "layer1.0.conv2" names the node, its output and, with a suffix (".weight"),
// its parameters. Statistics, groups and prune plans use these names.
// Attrs is the closed set of operators (elek/ops, one file each). How to add one: docs/architecture.md.
// Model: a graph, its parameters (batch norm kept apart), preprocessing, class names and history. A model is a value: copies
// share the parameter tensors, which never change.
// Tests: tests/unit/op_test.cpp, tests/unit/graph_test.cpp, tests/unit/model_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "elek/export.h"
#include "elek/memory.h"
#include "elek/ops/add.h"
#include "elek/ops/batch_norm.h"
#include "elek/ops/channel_map.h"
#include "elek/ops/channel_scale.h"
#include "elek/ops/clip.h"
#include "elek/ops/concat.h"
#include "elek/ops/conv2d.h"
#include "elek/ops/flatten.h"
#include "elek/ops/global_avg_pool.h"
#include "elek/ops/hard_swish.h"
#include "elek/ops/input.h"
#include "elek/ops/leaky_relu.h"
#include "elek/ops/linear.h"
#include "elek/ops/pool.h"
#include "elek/ops/relu.h"
#include "elek/ops/sigmoid.h"
#include "elek/ops/silu.h"
#include "elek/types.h"

namespace elek {

using Attrs = std::variant<InputAttrs, Conv2dAttrs, BatchNormAttrs, ReluAttrs, AddAttrs, MaxPoolAttrs, AvgPoolAttrs,
                           GlobalAvgPoolAttrs, LinearAttrs, FlattenAttrs, ChannelMapAttrs, ClipAttrs, LeakyReluAttrs,
                           SigmoidAttrs, HardSwishAttrs, ChannelScaleAttrs, ConcatAttrs, SiluAttrs>;

[[nodiscard]] ELEK_API std::string_view op_name(const Attrs& attrs);  // "conv2d", "batch_norm", … as in model files
[[nodiscard]] ELEK_API OpClass op_class(const Attrs& attrs);
/// Default attributes of the operator with this name; nothing if there is no such operator.
[[nodiscard]] ELEK_API std::optional<Attrs> attrs_of(std::string_view op_name);

/// Shape of the output, one sample, for these attributes and input shapes. ContractError (operator, name, got, expected) if the
/// number or shapes of inputs do not fit, or an attribute is out of range.
[[nodiscard]] ELEK_API ImageShape infer_shape(const std::string& name, const Attrs& attrs,
                                              const std::vector<ImageShape>& inputs);

[[nodiscard]] ELEK_API ChannelFlow channel_flow(const Attrs& attrs, std::span<const ImageShape> inputs);
/// Empty if the operator declares none.
[[nodiscard]] ELEK_API std::vector<OpParameter> op_parameters(const Attrs& attrs, std::span<const ImageShape> inputs,
                                                              const ImageShape& output);
/// 0 if the operator does not declare it.
[[nodiscard]] ELEK_API int64_t op_macs(const Attrs& attrs, std::span<const ImageShape> inputs, const ImageShape& output);
/// The attributes after a cut; unchanged if the operator does not declare cut().
[[nodiscard]] ELEK_API Attrs cut_attrs(const Attrs& attrs, std::span<const ImageShape> inputs, const KeptChannels& kept);
/// 1x1 with stride 1 if the operator does not declare it.
[[nodiscard]] ELEK_API Window window_of(const Attrs& attrs);

/// None unless the operator is an activation.
[[nodiscard]] ELEK_API Activation activation_of(const Attrs& attrs);

/// A convolution or a linear layer: trained weights multiply its input.
[[nodiscard]] ELEK_API bool has_weights(const Attrs& attrs);
/// The layer as a convolution. A linear layer is a 1x1 convolution over one position. ContractError if it has no weights.
[[nodiscard]] ELEK_API Conv2dAttrs as_convolution(const Attrs& attrs);

/// Calls visit(name, member[, IntRange or RealRange][, OmittedAt]) for each attribute, in the order of model files.
template <typename AttrsOrConst, typename Visit>
ELEK_API void visit_fields(AttrsOrConst& attrs, Visit&& visit) {
  std::visit([&](auto& op) { op.fields(op, visit); }, attrs);
}

using ValueId = int32_t;  // index into Graph::nodes(); node i makes value i

struct Node {
  std::string name;
  Attrs attrs;
  std::vector<ValueId> inputs;
  ImageShape shape;  // of the node's value, one sample; set by Graph::add

  template <typename A>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<A>(attrs);
  }
  template <typename A>
  [[nodiscard]] const A& as() const {
    return std::get<A>(attrs);
  }
};
[[nodiscard]] inline std::string_view op_name(const Node& node) { return op_name(node.attrs); }
[[nodiscard]] inline OpClass op_class(const Node& node) { return op_class(node.attrs); }
[[nodiscard]] inline bool has_weights(const Node& node) { return has_weights(node.attrs); }

class ELEK_API Graph {
 public:
  /// Appends a node, infers its shape and returns its value. ContractError (operator, name, got, expected) if the inputs do not
  /// fit, the name is taken or empty, or an attribute is out of range.
  ValueId add(std::string name, Attrs attrs, std::vector<ValueId> inputs);
  /// The value that is the network's output (the logits). By default the one added last.
  void set_output(ValueId value);
  [[nodiscard]] ValueId output() const;
  [[nodiscard]] const std::vector<Node>& nodes() const noexcept { return nodes_; }
  [[nodiscard]] const Node& node(ValueId value) const;
  [[nodiscard]] ValueId find(std::string_view name) const;            // -1 if there is none
  [[nodiscard]] ValueId at(std::string_view name) const;              // ContractError if there is none
  [[nodiscard]] std::vector<ValueId> consumers(ValueId value) const;  // nodes that read it, in order
  [[nodiscard]] const ImageShape& input_shape() const;                // of the one input node
  [[nodiscard]] std::vector<ImageShape> input_shapes(const Node& node) const;

 private:
  std::vector<Node> nodes_;
  ValueId output_ = -1;
};

/// The same for one node of the graph, with the shapes it has there.
[[nodiscard]] ELEK_API ChannelFlow channel_flow(const Graph& graph, const Node& node);
[[nodiscard]] ELEK_API std::vector<OpParameter> op_parameters(const Graph& graph, const Node& node);

/// Multiply-accumulates for one sample. Only convolutions and linear layers count.
[[nodiscard]] ELEK_API int64_t macs(const Graph& graph);
[[nodiscard]] ELEK_API int64_t macs(const Graph& graph, const Node& node);

/// x = (pixel / 255 - mean[c]) / std[c] for uint8 pixels.
struct Preprocessing {
  std::vector<float> mean;    // [C]
  std::vector<float> stddev;  // [C]
};

/// One group of channels (or one layer's weights) that a cut changed.
struct Cut {
  std::string name;            // the group's first value, or the layer
  int64_t before = 0;          // channels (or weights) before
  std::vector<int64_t> kept;   // channel indices kept, ascending; empty for weight masks
  int64_t removed = 0;         // channels or weights removed
  std::vector<double> scores;  // one per channel; empty for weight masks
};

/// Top-1 accuracies of the networks of one history entry, as fractions, on the same images.
struct Evaluation {
  std::string data;  // DATA, as given
  std::string hash;  // of the images and labels, in order, in hex
  int64_t samples = 0;
  double dense = 0;                // before the action; of an imported network, its own
  std::optional<double> pruned;    // right after the action
  std::optional<double> repaired;  // after the repair, if there was one
  [[nodiscard]] double saved() const { return repaired.value_or(pruned.value_or(dense)); }
};

/// Something that the source of an imported network does not show: which reading of it was taken, and where that was read.
struct Assumption {
  std::string what;    // "input size"
  std::string value;   // "3x32x32"
  std::string source;  // "assumed", "given" by the user, or the name of the file that says it
};

/// One action on the network. Entries are in the order of the actions.
struct HistoryEntry {
  std::string action;       // "prune channels", "prune weights", "repair", …
  std::string criterion;    // "std-consumer", "wanda", …
  std::string target;       // "channels=0.3 scope=layer round-to=auto"
  std::string repair;       // "bn", "refit", "none"
  std::string source_hash;  // model hash before, hex; of an imported network, the hash of the file's bytes
  std::string replayed;     // hash of the cut network whose choice was repeated; empty if this one's own scores chose
  std::string calibration;  // DATA that was watched, as given; empty if the criterion watches nothing
  int64_t calibration_samples = 0;
  std::string tap;          // "relu" or "conv": what was watched
  std::string kernels;      // the choice of kernels that took the sums
  std::string repair_data;  // DATA that the repair used
  int64_t repair_samples = 0;
  uint64_t seed = 0;
  std::string version;                   // of elek
  std::optional<Evaluation> evaluation;  // if it was measured
  std::vector<Cut> cuts;
  std::vector<Assumption> assumptions;  // of an imported network
};
using History = std::vector<HistoryEntry>;

/// Parameter names ("layer1.0.conv2.weight") and their tensors: f32 on the host. Shapes: convolution weights [K, C/groups, R,
/// S], linear weights [out, in], all others [C].
using Parameters = std::map<std::string, std::shared_ptr<const Tensor>>;

/// How a value is stored in 8 bits: value = scale * q. Without sign q is 0 … 255, with sign -128 … 127. Zero is exact, so
/// padding is.
struct IntegerGrid {
  float scale = 1;  // finite, > 0
  bool is_signed = false;
  [[nodiscard]] int lowest() const noexcept { return is_signed ? -128 : 0; }
  [[nodiscard]] int highest() const noexcept { return is_signed ? 127 : 255; }
  friend bool operator==(const IntegerGrid&, const IntegerGrid&) = default;
};

/// What Precision::kInt8 computes with. Only `quantize()` (elek/quantize.h) makes it. A session of another precision ignores
/// it, and multiplies the same rounded weights.
struct Quantization {
  /// Per quantised convolution, one scale per output channel: weight[k] = scale[k] * q, q in -127 … 127, batch norm folded in.
  std::map<std::string, std::vector<float>> layers;
  /// Values that quantised convolutions read. A value that a quantised convolution makes is rounded there, for all its readers;
  /// any other is rounded where a quantised convolution reads it.
  std::map<std::string, IntegerGrid> values;
  [[nodiscard]] bool empty() const noexcept { return layers.empty() && values.empty(); }
  friend bool operator==(const Quantization&, const Quantization&) = default;
};

struct ELEK_API Model {
  std::string architecture;  // "resnet50", "cifar_resnet20", …: for people only; code uses the graph
  Graph graph;
  Parameters parameters;
  Preprocessing preprocessing;
  std::vector<std::string> labels;  // one per class, or empty
  History history;
  Quantization quantization{};  // empty unless the model is quantised

  /// The named parameter; ContractError naming it if there is none.
  [[nodiscard]] const Tensor& parameter(const std::string& name) const;
};

/// Name, shape and role of every parameter that the graph needs, in graph order.
struct ParameterSpec {
  std::string name;
  Shape shape;
  ParameterRole role = ParameterRole::kVector;
};
[[nodiscard]] ELEK_API std::vector<ParameterSpec> required_parameters(const Graph& graph);

/// Checks that every required parameter is there, with the right shape, f32 and finite (running_var >= 0), and that there are
/// no others; and that the quantisation fits graph and weights. Otherwise InputError names tensor, expected and found. `where`
/// names the file in the message.
ELEK_API void validate(const Model& model, const std::string& where);

[[nodiscard]] ELEK_API int64_t
parameter_count(const Model& model);  // elements that training would change: no running statistics
[[nodiscard]] ELEK_API int64_t nonzero_parameter_count(const Model& model);
[[nodiscard]] ELEK_API size_t parameter_bytes(const Model& model);  // of all tensors
/// Identifies the contents: graph, parameters and quantisation, not history, labels or file. The same on every machine.
[[nodiscard]] ELEK_API uint64_t hash(const Model& model);

enum class BatchNorm : uint8_t {
  kFold,   // folded into the convolution's weights and bias
  kApart,  // the epilogue normalises the convolution's raw output (needed for re-estimation and tap `conv`)
};

}  // namespace elek
