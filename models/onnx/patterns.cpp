// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/patterns.h"

#include <cmath>
#include <map>
#include <utility>

namespace elek::onnx {
namespace {

/// Close enough to be the same number after a detour through f16.
bool is_about(std::optional<float> value, float wanted) {
  return value && std::fabs(*value - wanted) <= 1e-3F * std::fabs(wanted) + 1e-6F;
}

class Chains {
 public:
  Chains(std::vector<NodeProto>& nodes, const ScalarOf& scalar_of) : scalar_of_(scalar_of) {
    for (NodeProto& node : nodes) {
      replace(node);
      if (!node.outputs.empty()) makers_[node.outputs.front()] = &node;
    }
  }

 private:
  static constexpr float kSixth = 1.0F / 6.0F;

  /// The node that makes this value, if it is of this operator.
  [[nodiscard]] const NodeProto* maker(const std::string& value, const char* op) const {
    const auto found = makers_.find(value);
    return found == makers_.end() || found->second->op != op ? nullptr : found->second;
  }

  /// Of two inputs, calls f(one, other) both ways round until it returns a value.
  template <typename F>
  static std::optional<std::string> either_way(const NodeProto& node, const F& f) {
    if (node.inputs.size() != 2) return std::nullopt;
    if (auto found = f(node.inputs[0], node.inputs[1])) return found;
    return f(node.inputs[1], node.inputs[0]);
  }

  /// x, if the node is Clip(x + 3, 0, 6).
  [[nodiscard]] std::optional<std::string> gate(const std::string& value) const {
    const NodeProto* clip = maker(value, "Clip");
    if (clip == nullptr || clip->inputs.empty()) return std::nullopt;
    const auto bound = [&](const char* attribute, size_t index) -> std::optional<float> {
      if (clip->has_input(index)) return scalar_of_(clip->inputs[index]);
      const Attribute* found = clip->find(attribute);
      return found == nullptr ? std::nullopt : found->real;
    };
    const std::optional<float> low = bound("min", 1);
    if (!low || *low != 0 || !is_about(bound("max", 2), 6)) return std::nullopt;
    const NodeProto* sum = maker(clip->inputs[0], "Add");
    if (sum == nullptr) return std::nullopt;
    return either_way(*sum, [&](const std::string& x, const std::string& three) -> std::optional<std::string> {
      return is_about(scalar_of_(three), 3) ? std::optional(x) : std::nullopt;
    });
  }

  /// v, if the node is v / 6.
  [[nodiscard]] std::optional<std::string> sixth(const NodeProto& node) const {
    if (node.op == "Div" && node.inputs.size() == 2 && is_about(scalar_of_(node.inputs[1]), 6)) return node.inputs[0];
    if (node.op != "Mul") return std::nullopt;
    return either_way(node, [&](const std::string& v, const std::string& factor) -> std::optional<std::string> {
      return is_about(scalar_of_(factor), kSixth) ? std::optional(v) : std::nullopt;
    });
  }

  [[nodiscard]] bool is_hard_sigmoid_of(const std::string& value, const std::string& x) const {
    const NodeProto* node = maker(value, "HardSigmoid");
    return node != nullptr && node->inputs.size() == 1 && node->inputs[0] == x && is_about(node->real("alpha", 0.2F), kSixth) &&
           is_about(node->real("beta", 0.5F), 0.5F);
  }

  [[nodiscard]] bool is_sigmoid_of(const std::string& value, const std::string& x) const {
    const NodeProto* node = maker(value, "Sigmoid");
    return node != nullptr && node->inputs.size() == 1 && node->inputs[0] == x;
  }

  static void become(NodeProto& node, const char* op, const std::string& input) {
    node.op = op;
    node.inputs = {input};
    node.attributes.clear();
  }

  void replace(NodeProto& node) const {
    if (node.op != "Mul" && node.op != "Div") return;
    if (const auto six_times = sixth(node)) {
      if (const auto x = gate(*six_times)) {
        become(node, "HardSigmoid", *x);
        node.attributes["alpha"].real = kSixth;
        node.attributes["beta"].real = 0.5F;
        return;
      }
      const NodeProto* product = maker(*six_times, "Mul");
      if (product == nullptr) return;
      const auto x = either_way(*product, [&](const std::string& one, const std::string& other) {
        return gate(other) == one ? std::optional(one) : std::nullopt;
      });
      if (x) become(node, "HardSwish", *x);
      return;
    }
    if (node.op != "Mul") return;
    const auto swish = either_way(node, [&](const std::string& x, const std::string& factor) {
      return is_hard_sigmoid_of(factor, x) ? std::optional(x) : std::nullopt;
    });
    if (swish) return become(node, "HardSwish", *swish);
    const auto silu = either_way(node, [&](const std::string& x, const std::string& factor) {
      return is_sigmoid_of(factor, x) ? std::optional(x) : std::nullopt;
    });
    if (silu) become(node, kSilu, *silu);
  }

  const ScalarOf& scalar_of_;
  std::map<std::string, const NodeProto*> makers_;
};

}  // namespace

void replace_chains(std::vector<NodeProto>& nodes, const ScalarOf& scalar_of) { const Chains replaced(nodes, scalar_of); }

}  // namespace elek::onnx
