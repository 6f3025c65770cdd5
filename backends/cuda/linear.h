// SPDX-License-Identifier: Apache-2.0
// The classifier: y = x W^T [+ bias] through cuBLASLt. Tests: tests/gpu/backend_linear_test.cpp
#pragma once

#include <cublasLt.h>

#include <memory>
#include <string>

#include "core/result.h"
#include "elek/types.h"

namespace elek::backends::cuda {

/// y[n,o] = sum over i of w[o,i] x[n,i] [+ bias[o]]. y and bias are f32, x and w have the precision's storage type.
struct LinearProblem {
  int64_t samples = 1;
  int64_t in_features = 0;  // also x's pitch: padding is multiplied by zero weights
  int64_t out_features = 0;
  int64_t y_pitch = 0;
  Precision precision = Precision::kF32;
  bool bias = false;
  bool deterministic = false;
};

/// Plans once, runs often. Not thread-safe.
class Linear {
 public:
  /// No{reason} if cuBLASLt proposes nothing. DeviceError if the library fails. Uses the current device.
  [[nodiscard]] static Result<std::shared_ptr<Linear>> make(const LinearProblem& problem);
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;
  ~Linear();
  [[nodiscard]] size_t workspace_bytes() const noexcept { return algorithm_.workspaceSize; }
  [[nodiscard]] std::string name() const;
  void run(const void* x, const void* w, const float* bias, float* y, void* workspace, cudaStream_t stream) const;

 private:
  Linear() = default;
  Result<bool> plan(const LinearProblem& problem);
  LinearProblem problem_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t w_ = nullptr;
  cublasLtMatrixLayout_t x_ = nullptr;
  cublasLtMatrixLayout_t y_ = nullptr;
  cublasLtMatmulHeuristicResult_t algorithm_{};
};

}  // namespace elek::backends::cuda
