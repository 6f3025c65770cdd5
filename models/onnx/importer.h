// SPDX-License-Identifier: Apache-2.0
// Turns the nodes of an ONNX file into elek's. A value of the file is one of four things: an activation (a value of elek's
// network, and how ONNX's axes lie on it), a constant, an array of integers (shapes and what is computed from them), or unknown
// (the output of a node that elek does not have). Nodes that only rename indices change an activation's axes and make no node.
// What is not supported is collected, so that one error names all of it.
// The translations are grouped by topic in import_*.cpp; the table of operators is in importer.cpp.
// Tests: tests/models/onnx_import_test.cpp, tests/fuzz/onnx_fuzz.cpp
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "elek/graph.h"
#include "models/onnx/axes.h"
#include "models/onnx/constant.h"
#include "models/onnx/file.h"
#include "models/onnx/import.h"
#include "models/onnx/network.h"
#include "models/onnx/values.h"

namespace elek::onnx {

/// The shortest decimal number that is this float: 1e-5, not 9.99999974737875163555e-06. Attributes are f32 in ONNX and double
/// in elek; this gives back what their writer meant.
[[nodiscard]] double decimal(float value);

class Importer {
 public:
  Importer(const FileProto& file, const ImportOptions& options, MemoryResource& resource);
  [[nodiscard]] Imported run();

 private:
  using Translate = Value (Importer::*)(const NodeProto&);
  [[nodiscard]] static const std::map<std::string_view, Translate>& table();

  // importer.cpp: the way through the file
  void choose_output();
  void find_needed();
  void add_input();
  void translate(const NodeProto& node);
  void count_folded(const Value& value);
  void refuse_all() const;
  [[nodiscard]] ImageShape input_shape(const ValueProto& input, bool channels_last) const;
  [[nodiscard]] bool input_is_channels_last(const ValueProto& input) const;
  [[nodiscard]] int64_t first_convolution_channels() const;
  [[nodiscard]] Preprocessing preprocessing(int64_t channels);
  void note(const std::string& text);

  // lookups.cpp: what a node reads and makes
  [[nodiscard]] Value input(const NodeProto& node, size_t index);
  [[nodiscard]] bool is_activation(const NodeProto& node, size_t index);
  [[nodiscard]] Activation activation(const NodeProto& node, size_t index);         // without zeros around it
  [[nodiscard]] Activation window_activation(const NodeProto& node, size_t index);  // perhaps with zeros around it
  /// An activation that was read as input 0, as [N] [C] [H] [W] with the channels in their order.
  [[nodiscard]] Activation image(const NodeProto& node, Activation from);
  [[nodiscard]] Constant constant(const NodeProto& node, size_t index);
  [[nodiscard]] Integers integers(const NodeProto& node, size_t index);
  [[nodiscard]] std::vector<int64_t> numbers(const NodeProto& node, size_t index);
  /// The attribute, or since some operator set the input `index`; `otherwise` if neither is given.
  [[nodiscard]] std::vector<int64_t> numbers(const NodeProto& node, const char* attribute, size_t index,
                                             std::vector<int64_t> otherwise);
  [[nodiscard]] std::optional<float> number(const NodeProto& node, const char* attribute, size_t index);
  [[nodiscard]] std::vector<float> vector_of(const Constant& from, int64_t channels, const char* what) const;
  [[nodiscard]] static size_t axis_in(int64_t axis, size_t rank);  // a negative axis counts from the end
  [[nodiscard]] bool read_once(const std::string& name) const;
  /// A new node; its axes are [N] [C] [H] [W] unless they are given.
  [[nodiscard]] Value make(const NodeProto& node, const std::string& name, Attrs attrs, std::vector<ValueId> inputs,
                           const std::optional<Axes>& axes = std::nullopt);
  /// A new parameter. InputError if the parameters take far more memory than the file does.
  [[nodiscard]] std::span<float> parameter(ValueId value, std::string_view suffix, const Shape& shape);
  /// The same value with other axes.
  [[nodiscard]] Value renamed(const NodeProto& node, Activation from, Axes axes) const;
  /// "layer1.0.conv1" if the weight is called layer1.0.conv1.weight; otherwise the name of the node's output.
  [[nodiscard]] static std::string layer_name(const NodeProto& node, const Constant& weight);

  // import_layers.cpp
  Value conv(const NodeProto& node);
  /// A channel map, if the convolution only copies channels.
  [[nodiscard]] std::optional<Value> selection(const NodeProto& node, const Activation& from, const Constant& weight,
                                               const Conv2dAttrs& attrs);
  [[nodiscard]] bool may_be_selection(const Constant& weight) const;
  Value gemm(const NodeProto& node);
  Value matmul(const NodeProto& node);
  Value batch_norm(const NodeProto& node);
  Value linear(const NodeProto& node, const Activation& from, const Constant& weight, const std::vector<float>& bias);

  // import_windows.cpp
  [[nodiscard]] SlidingWindow sliding_window(const NodeProto& node, Pair kernel, const Activation& from) const;
  static void set_window(Conv2dAttrs& attrs, SlidingWindow window, const Border& zeros);
  Value max_pool(const NodeProto& node);
  Value average_pool(const NodeProto& node);
  Value global_average_pool(const NodeProto& node);
  Value global_max_pool(const NodeProto& node);
  Value reduce_mean(const NodeProto& node);
  Value pad(const NodeProto& node);

  // import_elementwise.cpp
  Value relu(const NodeProto& node);
  Value clip(const NodeProto& node);
  Value leaky_relu(const NodeProto& node);
  Value prelu(const NodeProto& node);
  Value sigmoid(const NodeProto& node);
  Value hard_sigmoid(const NodeProto& node);
  Value hard_swish(const NodeProto& node);
  Value silu(const NodeProto& node);
  Value add(const NodeProto& node);
  Value sum(const NodeProto& node);
  Value subtract(const NodeProto& node);
  Value multiply(const NodeProto& node);
  Value divide(const NodeProto& node);
  Value max_or_min(const NodeProto& node);
  Value last_softmax(const NodeProto& node);
  Value activate(const NodeProto& node, Attrs attrs);
  Value clipped(const NodeProto& node, const Activation& from, double low, double high);
  Value affine(const NodeProto& node, const Activation& from, const Affine& change);
  Value scaled(const NodeProto& node, Activation x, Activation factors);
  Value sum_of(const NodeProto& node, const Activation& one, const Activation& other, const std::string& name);
  /// Whether the value leads to nothing but the output, through nodes that change no order.
  [[nodiscard]] bool leads_only_to_output(const std::string& name) const;
  /// The numbers of a constant, one for each channel of the activation that it is broadcast to.
  [[nodiscard]] std::vector<double> per_channel(const Constant& from, const Activation& to) const;

  // import_shapes.cpp
  Value identity(const NodeProto& node);
  Value cast(const NodeProto& node);
  Value flatten(const NodeProto& node);
  Value reshape(const NodeProto& node);
  Value transpose(const NodeProto& node);
  Value squeeze(const NodeProto& node);
  Value unsqueeze(const NodeProto& node);
  Value concat(const NodeProto& node);
  Value slice(const NodeProto& node);
  Value gather(const NodeProto& node);
  Value split(const NodeProto& node);
  Value as_features(const NodeProto& node, Activation from, const std::optional<Axes>& axes);
  /// A channel map of the activation, called as the value `name`. `map` counts the channels of the network's value.
  [[nodiscard]] bool may_join(const std::string& first, std::string name) const;
  Value mapped(const std::string& name, const Activation& from, const ChannelMapAttrs& map);
  /// Takes the stride of a Slice, if it is the same for rows and columns.
  [[nodiscard]] Activation strided(const Activation& from, const std::string& name);

  // import_constants.cpp
  Value constant_node(const NodeProto& node);
  Value constant_of_shape(const NodeProto& node);
  Value shape_of(const NodeProto& node);
  Value arithmetic(const NodeProto& node);
  Value square_root(const NodeProto& node);
  Value product(const NodeProto& node);

  // import_quantized.cpp
  Value quantize(const NodeProto& node);
  Value dequantize(const NodeProto& node);

  const FileProto& file_;
  ImportOptions options_;
  Tensors tensors_;
  Network network_;
  std::vector<NodeProto> nodes_;  // the file's, with chains of nodes replaced by what they mean (patterns.h)
  std::vector<bool> needed_;
  std::map<std::string, std::vector<size_t>, std::less<>> readers_;  // of each value: the needed nodes that read it
  std::map<std::string, Value> values_;
  std::string input_name_, output_name_;
  std::optional<int64_t> batch_;  // if the file fixes it
  std::optional<Affine> input_affine_;
  bool input_is_bytes_ = false;
  size_t parameter_bytes_ = 0, folded_bytes_ = 0;  // of the network; of constants and integers that were computed
  std::vector<std::pair<const NodeProto*, std::string>> unsupported_;
  std::vector<std::string> notes_;
};

}  // namespace elek::onnx
