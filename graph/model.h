// SPDX-License-Identifier: Apache-2.0
// Model: a graph, its parameters (batch norm kept apart), how images become its input, what its outputs are called, and what
// was done to it (History). A value: copying shares the parameter tensors, which never change once in a model.
// Tests: tests/unit/model_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/memory/tensor.h"
#include "graph/graph.h"

namespace elek {

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

struct Model {
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
[[nodiscard]] std::vector<ParameterSpec> required_parameters(const Graph& graph);

/// Every required parameter there, of the right shape, f32 and finite (running_var >= 0), none too many; else InputError that
/// names tensor, expected and found. `where` names the file for the message.
void validate(const Model& model, const std::string& where);

[[nodiscard]] int64_t parameter_count(const Model& model);  // elements that training would learn: no running statistics
[[nodiscard]] int64_t nonzero_parameter_count(const Model& model);
[[nodiscard]] size_t parameter_bytes(const Model& model);  // all tensors
/// Names the contents: graph and parameters, not history, labels or file. The same on every machine.
[[nodiscard]] uint64_t hash(const Model& model);

}  // namespace elek
