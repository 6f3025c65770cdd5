// SPDX-License-Identifier: Apache-2.0
// Graph: named values and the nodes that make them, in execution order. It says what is computed, never where or how. A node
// makes exactly one value and shares its name, so that "layer1.0.conv2" names the node, its output and, with a suffix
// (".weight"), its parameters. Statistics, groups and prune plans speak of these names.
// Attrs is the closed set of operators (elek/ops, one file each). To add one: docs/architecture.md.
// Model: a graph, its parameters (batch norm kept apart), how images become its input, what its outputs are called, and what
// was done to it (History). A value: copying shares the parameter tensors, which never change once in a model.
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
#include "elek/types.h"

namespace elek {

using Attrs = std::variant<InputAttrs, Conv2dAttrs, BatchNormAttrs, ReluAttrs, AddAttrs, MaxPoolAttrs, AvgPoolAttrs,
                           GlobalAvgPoolAttrs, LinearAttrs, FlattenAttrs, ChannelMapAttrs, ClipAttrs, LeakyReluAttrs,
                           SigmoidAttrs, HardSwishAttrs, ChannelScaleAttrs>;

[[nodiscard]] ELEK_API std::string_view op_name(const Attrs& attrs);  // "conv2d", "batch_norm", … as in model files
[[nodiscard]] ELEK_API OpClass op_class(const Attrs& attrs);
/// Default attributes of the operator called so; nothing if elek has none of that name.
[[nodiscard]] ELEK_API std::optional<Attrs> attrs_of(std::string_view op_name);

/// Shape of one sample of what `attrs` makes from inputs of these shapes. ContractError (operator, name, got, expected) if
/// their number or shapes do not fit, or an attribute is out of range.
[[nodiscard]] ELEK_API ImageShape infer_shape(const std::string& name, const Attrs& attrs,
                                              const std::vector<ImageShape>& inputs);

[[nodiscard]] ELEK_API ChannelFlow channel_flow(const Attrs& attrs, std::span<const ImageShape> inputs);
/// None unless the operator says so.
[[nodiscard]] ELEK_API std::vector<OpParameter> op_parameters(const Attrs& attrs, std::span<const ImageShape> inputs,
                                                              const ImageShape& output);
/// 0 unless the operator says so.
[[nodiscard]] ELEK_API int64_t op_macs(const Attrs& attrs, std::span<const ImageShape> inputs, const ImageShape& output);
/// The attributes after a cut; unchanged unless the operator says so.
[[nodiscard]] ELEK_API Attrs cut_attrs(const Attrs& attrs, std::span<const ImageShape> inputs, const KeptChannels& kept);
/// 1x1 without stride unless the operator says so.
[[nodiscard]] ELEK_API OpWindow window_of(const Attrs& attrs);

/// None unless the operator is an activation.
[[nodiscard]] ELEK_API Activation activation_of(const Attrs& attrs);

/// A convolution, or a linear layer: trained weights multiply its input.
[[nodiscard]] ELEK_API bool has_weights(const Attrs& attrs);
/// The layer as a convolution: a linear layer is one of 1x1 over one position. ContractError if it has no weights.
[[nodiscard]] ELEK_API Conv2dAttrs as_convolution(const Attrs& attrs);

/// Calls visit(name, member[, IntRange or RealRange]) for each attribute, in the order of model files.
template <typename AttrsOrConst, typename Visit>
ELEK_API void visit_fields(AttrsOrConst& attrs, Visit&& visit) {
  std::visit([&](auto& op) { op.fields(op, visit); }, attrs);
}

using ValueId = int32_t;  // index into Graph::nodes(): value i is what node i makes

struct Node {
  std::string name;
  Attrs attrs;
  std::vector<ValueId> inputs;
  ImageShape shape;  // of the value it makes, one sample; filled by Graph::add

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
  /// The value that is the network's answer; the last one added unless set.
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

/// What the operator of one of the graph's nodes says (elek/graph.h), for the shapes that it has there.
[[nodiscard]] ELEK_API ChannelFlow channel_flow(const Graph& graph, const Node& node);
[[nodiscard]] ELEK_API std::vector<OpParameter> op_parameters(const Graph& graph, const Node& node);

/// Multiply-accumulates for one sample: of convolutions and linear layers; the other operators count as none.
[[nodiscard]] ELEK_API int64_t macs(const Graph& graph);
[[nodiscard]] ELEK_API int64_t macs(const Graph& graph, const Node& node);

/// x = (pixel / 255 - mean[c]) / std[c] for uint8 pixels.
struct Preprocessing {
  std::vector<float> mean;    // [C]
  std::vector<float> stddev;  // [C]
};

/// One group of channels (or one layer's weights) that a cut touched.
struct Cut {
  std::string name;            // the group's first value, or the layer
  int64_t before = 0;          // channels (or weights) before
  std::vector<int64_t> kept;   // channel indices kept, ascending; empty for weight masks
  int64_t removed = 0;         // channels or weights removed
  std::vector<double> scores;  // one a channel; empty for weight masks
};

/// Top-1 of the networks of one entry, as fractions of the same images.
struct Evaluation {
  std::string data;  // DATA, as given
  std::string hash;  // of its images and labels, in order, hex
  int64_t samples = 0;
  double dense = 0;                // before the entry's action; of an imported network its own
  std::optional<double> pruned;    // just after it
  std::optional<double> repaired;  // as saved, where it was repaired
  [[nodiscard]] double saved() const { return repaired.value_or(pruned.value_or(dense)); }
};

/// One thing done to the network, in the order done.
struct HistoryEntry {
  std::string action;       // "prune channels", "prune weights", "repair", …
  std::string criterion;    // "std-consumer", "wanda", …
  std::string target;       // "channels=0.3 scope=layer round-to=auto"
  std::string repair;       // "bn", "refit", "none"
  std::string source_hash;  // model hash before, hex
  std::string replayed;     // hash of the cut network whose choice was repeated; empty where this one's own scores chose
  std::string calibration;  // DATA that was watched, as given; empty where the criterion watches nothing
  int64_t calibration_samples = 0;
  std::string tap;          // "relu" or "conv", of what was watched
  std::string kernels;      // that took the sums
  std::string repair_data;  // DATA that the repair saw
  int64_t repair_samples = 0;
  uint64_t seed = 0;
  std::string version;                   // of elek
  std::optional<Evaluation> evaluation;  // where it was measured
  std::vector<Cut> cuts;
};
using History = std::vector<HistoryEntry>;

/// Parameter name ("layer1.0.conv2.weight") to tensor: f32 on the host. Convolution weights [K, C/groups, R, S], linear
/// [out, in], the rest [C].
using Parameters = std::map<std::string, std::shared_ptr<const Tensor>>;

struct ELEK_API Model {
  std::string architecture;  // "resnet50", "cifar_resnet20", …: for people; the graph is what counts
  Graph graph;
  Parameters parameters;
  Preprocessing preprocessing;
  std::vector<std::string> labels;  // one a class, or empty
  History history;

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

/// Every required parameter there, of the right shape, f32 and finite (running_var >= 0), none too many; else InputError that
/// names tensor, expected and found. `where` names the file for the message.
ELEK_API void validate(const Model& model, const std::string& where);

[[nodiscard]] ELEK_API int64_t
parameter_count(const Model& model);  // elements that training would learn: no running statistics
[[nodiscard]] ELEK_API int64_t nonzero_parameter_count(const Model& model);
[[nodiscard]] ELEK_API size_t parameter_bytes(const Model& model);  // all tensors
/// Names the contents: graph and parameters, not history, labels or file. The same on every machine.
[[nodiscard]] ELEK_API uint64_t hash(const Model& model);

enum class BatchNorm : uint8_t {
  kFold,   // into the convolution's weights and bias
  kApart,  // conv makes its raw output; normalisation is part of the node's last step (re-estimation, tap `conv`)
};

}  // namespace elek
