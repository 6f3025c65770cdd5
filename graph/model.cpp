// SPDX-License-Identifier: Apache-2.0
// The parameters that a graph needs, checks of a model's parameters, their sizes, and the content hash.
// Tests: tests/unit/model_test.cpp
#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <type_traits>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/graph.h"
#include "graph/integer_values.h"

namespace elek {
namespace {

/// Feeds fields to the content hash, each with a fixed width and byte order, so that the hash does not depend on the machine.
class Hasher {
 public:
  void number(uint64_t value) {
    unsigned char bytes[8];
    for (unsigned char& byte : bytes) {
      byte = static_cast<unsigned char>(value & 255);
      value >>= 8;
    }
    hash_ = hash_bytes(bytes, sizeof(bytes), hash_);
  }
  void number(int64_t value) { number(static_cast<uint64_t>(value)); }
  void text(std::string_view text) {
    number(static_cast<uint64_t>(text.size()));  // with the length first, "ab","c" and "a","bc" differ
    hash_ = hash_bytes(text.data(), text.size(), hash_);
  }
  void floats(std::span<const float> values) {
    static_assert(std::endian::native == std::endian::little, "the hash of a parameter is that of its little-endian bytes");
    number(static_cast<uint64_t>(values.size()));
    hash_ = hash_bytes(values.data(), values.size_bytes(), hash_);
  }
  [[nodiscard]] uint64_t value() const { return hash_; }

  /// All attributes of an operator: numbers in the order of its fields, then lists.
  void attributes(const Attrs& attrs) {
    visit_fields(attrs, [&](const char* name, const auto& field, const auto&... more) {
      if constexpr (!kIsList<decltype(field)>) attribute(name, field, more...);
    });
    visit_fields(attrs, [&](const char* name, const auto& field, const auto&... more) {
      if constexpr (kIsList<decltype(field)>) attribute(name, field, more...);
    });
  }

 private:
  template <typename Field>
  static constexpr bool kIsList = std::is_same_v<std::remove_cvref_t<Field>, std::vector<int32_t>>;

  /// Before what older versions did not have: no number that they hashed is negative at that place.
  static constexpr int64_t kNewer = -1;

  template <typename Field, typename... More>
  void attribute(const char* name, const Field& field, const More&... more) {
    if (is_omitted(field, more...)) return;
    if constexpr ((std::is_same_v<More, OmittedAt<Field>> || ...)) {
      number(kNewer);
      text(name);
    }
    add(field);
  }
  void add(const Extent& extent) {
    if (extent.is_square()) return number(extent.height);
    for (const int64_t each : {kNewer, extent.height, extent.width}) number(each);
  }
  void add(const Padding& padding) {
    if (padding.is_even()) return number(padding.top);
    for (const int64_t each : {kNewer, padding.top, padding.left, padding.bottom, padding.right}) number(each);
  }
  void add(int64_t value) { number(value); }
  void add(bool value) { number(int64_t{value}); }
  void add(double value) { number(std::bit_cast<uint64_t>(value)); }
  void add(const ImageShape& shape) {
    for (const int64_t each : {shape.channels, shape.height, shape.width}) number(each);
  }
  void add(const std::vector<int32_t>& list) {
    number(static_cast<uint64_t>(list.size()));
    for (const int32_t each : list) number(int64_t{each});
  }
  uint64_t hash_ = kHashSeed;
};

/// Index of the first value that is not finite, or the size. Works on sixteen values at a time, so that compilers use vectors:
/// a ResNet-101 has 44 million.
size_t first_nonfinite(std::span<const float> values) {
  constexpr size_t kStep = 16;
  constexpr uint32_t kExponent = 0x7F800000;
  size_t i = 0;
  for (uint32_t bad = 0; i + kStep <= values.size(); i += kStep) {
    for (size_t j = 0; j < kStep; ++j) bad |= (std::bit_cast<uint32_t>(values[i + j]) & kExponent) == kExponent ? 1U : 0U;
    if (bad != 0) break;
  }
  while (i < values.size() && std::isfinite(values[i])) ++i;
  return i;
}

void validate_tensor(const ParameterSpec& spec, const Tensor& tensor, const std::string& where) {
  const std::string who = where + ": tensor '" + spec.name + "': ";
  if (tensor.dtype() != DType::kF32 || !is_host(tensor.view().device) || !(tensor.shape() == spec.shape) ||
      tensor.data() == nullptr) {
    throw InputError(who + "expected F32 " + to_string(spec.shape) + ", found " + std::string(name_of(tensor.dtype())) + " " +
                     to_string(tensor.shape()) + "; is it of another architecture?");
  }
  const std::span<const float> values = tensor.f32();
  if (const size_t bad = first_nonfinite(values); bad < values.size()) {
    throw InputError(who + "expected finite values, found " + std::to_string(values[bad]) + " at element " +
                     std::to_string(bad) + "; the file is damaged or training diverged");
  }
  if (spec.role != ParameterRole::kRunningVariance) return;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= 0)) {
      throw InputError(who + "expected variances >= 0, found " + std::to_string(values[i]) + " at element " +
                       std::to_string(i) + "; the file is damaged");
    }
  }
}

}  // namespace

const Tensor& Model::parameter(const std::string& name) const {
  const auto found = parameters.find(name);
  ELEK_CHECK(found != parameters.end() && found->second != nullptr, "the model has no parameter '" + name + "'");
  return *found->second;
}

std::vector<ParameterSpec> required_parameters(const Graph& graph) {
  std::vector<ParameterSpec> specs;
  for (const Node& node : graph.nodes()) {
    for (const OpParameter& each : op_parameters(graph, node)) {
      specs.push_back({node.name + std::string(each.suffix), each.shape, each.role});
    }
  }
  return specs;
}

void validate(const Model& model, const std::string& where) {
  std::set<std::string> wanted;
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    const auto found = model.parameters.find(spec.name);
    if (found == model.parameters.end() || found->second == nullptr) {
      throw InputError(where + ": tensor '" + spec.name + "': expected F32 " + to_string(spec.shape) +
                       ", found nothing; is the file of another architecture?");
    }
    validate_tensor(spec, *found->second, where);
    wanted.insert(spec.name);
  }
  for (const auto& [name, tensor] : model.parameters) {
    if (!wanted.contains(name)) {
      throw InputError(where + ": tensor '" + name + "': the network '" + model.architecture +
                       "' has no such parameter; is the file of another architecture?");
    }
  }
  validate_quantization(model, where);
}

namespace {

/// Calls f(tensor) for every parameter of the model that training would change.
template <typename F>
void for_trained(const Model& model, const F& f) {
  std::set<std::string> measured;
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    if (!is_trained(spec.role)) measured.insert(spec.name);
  }
  for (const auto& [name, tensor] : model.parameters) {
    if (!measured.contains(name)) f(*tensor);
  }
}

}  // namespace

int64_t parameter_count(const Model& model) {
  int64_t total = 0;
  for_trained(model, [&](const Tensor& tensor) { total += tensor.shape().elements(); });
  return total;
}

int64_t nonzero_parameter_count(const Model& model) {
  int64_t total = 0;
  for_trained(model, [&](const Tensor& tensor) {
    const std::span<const float> values = tensor.f32();
    total += std::count_if(values.begin(), values.end(), [](float value) { return value != 0.0F; });
  });
  return total;
}

size_t parameter_bytes(const Model& model) {
  size_t total = 0;
  for (const auto& [name, tensor] : model.parameters) {
    total += tensor->bytes();
  }
  return total;
}

uint64_t hash(const Model& model) {
  Hasher hasher;
  for (const Node& node : model.graph.nodes()) {
    hasher.text(node.name);
    hasher.text(op_name(node));
    hasher.attributes(node.attrs);
    hasher.number(static_cast<uint64_t>(node.inputs.size()));
    for (const ValueId input : node.inputs) {
      hasher.number(int64_t{input});
    }
  }
  hasher.number(int64_t{model.graph.nodes().empty() ? -1 : model.graph.output()});
  for (const auto& [name, tensor] : model.parameters) {  // a std::map: in name order
    hasher.text(name);
    for (const int64_t dim : tensor->shape().dims()) {
      hasher.number(dim);
    }
    hasher.floats(tensor->f32());
  }
  for (const auto& [name, scales] : model.quantization.layers) {
    hasher.text(name);
    hasher.floats(scales);
  }
  for (const auto& [name, grid] : model.quantization.values) {
    hasher.text(name);
    hasher.floats(std::span(&grid.scale, 1));
    hasher.number(int64_t{grid.is_signed});
  }
  return hasher.value();
}

}  // namespace elek
