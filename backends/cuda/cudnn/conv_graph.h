// SPDX-License-Identifier: Apache-2.0
// The only access to cudnn_frontend. A convolution problem becomes an operation graph, the graph a list of candidates, and a
// candidate a plan that runs. Graphs are built from a description of the device, not from a handle. So several threads can
// build in parallel, and tests can build without a device. "Not supported" is a Result; nothing here throws for it.
// Tests: tests/deviceless/fusion_test.cpp (building), tests/gpu/backend_conv_test.cpp (values)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_problem.h"
#include "core/result.h"

struct cudnnContext;
struct CUstream_st;

namespace cudnn_frontend {
class DeviceProperties;
namespace graph {
class Graph;
}
}  // namespace cudnn_frontend

namespace elek::backends::cuda {

/// Opens libcudnn once per process: $ELEK_CUDNN (a file), then libcudnn.so.9, then the one that elek was built with. Returns
/// its version (91900 = 9.19.0), or the reason why there is none. Thread-safe.
[[nodiscard]] Result<int64_t> load_cudnn();
/// "9.19.0"
[[nodiscard]] std::string version_name(int64_t version);

/// What cuDNN must know about a device to build for it.
class DeviceModel {
 public:
  [[nodiscard]] static Result<DeviceModel> of_device(int index);
  /// From the JSON of to_json() on some machine, or written by hand.
  [[nodiscard]] static Result<DeviceModel> from_json(std::span<const uint8_t> json);
  [[nodiscard]] Result<std::vector<uint8_t>> to_json() const;
  [[nodiscard]] const std::shared_ptr<const cudnn_frontend::DeviceProperties>& properties() const noexcept {
    return properties_;
  }

 private:
  std::shared_ptr<const cudnn_frontend::DeviceProperties> properties_;
};

/// A cuDNN handle on the thread's current device, enqueueing on `stream`. DeviceError if cuDNN refuses.
class CudnnHandle {
 public:
  explicit CudnnHandle(CUstream_st* stream);
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  ~CudnnHandle();
  [[nodiscard]] cudnnContext* get() const noexcept { return handle_; }

 private:
  cudnnContext* handle_ = nullptr;
};

/// Device addresses for one execution. Those that the problem does not use may be null.
struct ConvPointers {
  const void* x = nullptr;
  const void* w = nullptr;     // [filters, kernel, kernel, channels / groups]
  const void* bias = nullptr;  // [filters] of ConvProblem::bias_dtype()
  const void* residual = nullptr;
  void* y = nullptr;
  std::array<float*, kFusedSumKinds> sums{};  // [filters] each, in the order of FusedSums; zero before the launch, which adds
  float threshold = 0.0F;                     // read when execute() is called; a CUDA graph keeps that value
};

/// A plan that can run. Movable. Copies share the plan, so they are cheap.
class ConvPlan {
 public:
  ConvPlan() = default;
  ConvPlan(std::shared_ptr<cudnn_frontend::graph::Graph> graph, int64_t index, const ConvProblem& problem, std::string engine);
  [[nodiscard]] bool valid() const noexcept { return graph_ != nullptr; }
  [[nodiscard]] const std::string& engine() const noexcept { return engine_; }  // "eng7_k2=3_…"
  [[nodiscard]] const ConvProblem& problem() const noexcept { return problem_; }
  [[nodiscard]] size_t workspace_bytes() const noexcept { return workspace_bytes_; }
  [[nodiscard]] Result<std::vector<uint8_t>> serialise() const;
  /// Enqueues it on the handle's stream. DeviceError with cuDNN's message if cuDNN refuses.
  void execute(cudnnContext* handle, const ConvPointers& pointers, void* workspace) const;

 private:
  std::shared_ptr<cudnn_frontend::graph::Graph> graph_;
  int64_t index_ = 0;
  ConvProblem problem_;
  std::string engine_;
  size_t workspace_bytes_ = 0;
};

/// Loads a plan that serialise() made for the same problem, device and cuDNN; No{reason} if cuDNN does not take it.
[[nodiscard]] Result<ConvPlan> load_plan(const ConvProblem& problem, const DeviceModel& device, std::span<const uint8_t> bytes,
                                         const std::string& engine);

/// The operation graph of one problem, and the kernels that cuDNN proposes for it: first by heuristics, then every engine by
/// number with its default knobs. One thread at a time.
class ConvGraph {
 public:
  [[nodiscard]] static Result<ConvGraph> make(const ConvProblem& problem, const DeviceModel& device);
  [[nodiscard]] size_t candidates() const noexcept { return names_.size(); }
  [[nodiscard]] const std::string& name(size_t candidate) const { return names_.at(candidate); }
  /// Whether the library holds the kernel ready, so that building it takes no time. Else cuDNN compiles it.
  [[nodiscard]] bool precompiled(size_t candidate) const;
  [[nodiscard]] const std::string& refusals() const noexcept { return refusals_; }  // of those that are not candidates
  /// Compiles one candidate. Takes 0.4 to 4 s if cuDNN generates the kernel at run time.
  [[nodiscard]] Result<ConvPlan> build(size_t candidate) const;

 private:
  enum class Units : uint8_t { kAny, kTensorCores };
  [[nodiscard]] static Result<ConvGraph> propose(const ConvProblem& problem, const DeviceModel& device, Units units);
  ConvProblem problem_;
  std::shared_ptr<cudnn_frontend::graph::Graph> graph_;
  std::vector<std::string> names_;
  std::string refusals_;
};

}  // namespace elek::backends::cuda
