// SPDX-License-Identifier: Apache-2.0
// cuBLASLt is column-major. W [out, in] row-major is its [in, out], x [samples, in] its [in, samples], y its [out, samples]. So
// y = op(W) x with op = transpose. Tests: tests/gpu/backend_linear_test.cpp
#include "backends/cuda/linear.h"

#include "backends/cuda/error.h"
#include "core/error.h"

#define ELEK_CUBLAS_CALL(call)                                                                             \
  do {                                                                                                     \
    const cublasStatus_t elek_status_ = (call);                                                            \
    if (elek_status_ != CUBLAS_STATUS_SUCCESS)                                                             \
      throw DeviceError(std::string("cuBLASLt: ") + cublasLtGetStatusName(elek_status_) + " from " #call); \
  } while (false)

namespace elek::backends::cuda {
namespace {

constexpr size_t kMostWorkspaceBytes = size_t{4} << 20;

cudaDataType type_of(Precision precision) {
  switch (storage_of(precision)) {
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

}  // namespace

Result<std::shared_ptr<Linear>> Linear::make(const LinearProblem& problem) {
  std::shared_ptr<Linear> made(new Linear);
  if (auto planned = made->plan(problem); !planned) return No{planned.reason()};
  return made;
}

Result<bool> Linear::plan(const LinearProblem& p) {
  problem_ = p;
  ELEK_CUBLAS_CALL(cublasLtCreate(&handle_));
  const cublasComputeType_t compute = p.precision == Precision::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  ELEK_CUBLAS_CALL(cublasLtMatmulDescCreate(&operation_, compute, CUDA_R_32F));
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    ELEK_CUBLAS_CALL(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (p.bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  const auto rows = [](int64_t n) { return static_cast<uint64_t>(n); };
  const cudaDataType type = type_of(p.precision);
  ELEK_CUBLAS_CALL(cublasLtMatrixLayoutCreate(&w_, type, rows(p.in_features), rows(p.out_features), p.in_features));
  ELEK_CUBLAS_CALL(cublasLtMatrixLayoutCreate(&x_, type, rows(p.in_features), rows(p.samples), p.in_features));
  ELEK_CUBLAS_CALL(cublasLtMatrixLayoutCreate(&y_, CUDA_R_32F, rows(p.out_features), rows(p.samples), p.y_pitch));
  cublasLtMatmulPreference_t preference = nullptr;
  ELEK_CUBLAS_CALL(cublasLtMatmulPreferenceCreate(&preference));
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, decltype(&cublasLtMatmulPreferenceDestroy)> owned(
      preference, &cublasLtMatmulPreferenceDestroy);
  const size_t most = kMostWorkspaceBytes;
  ELEK_CUBLAS_CALL(
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most)));
  if (p.deterministic) {
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE;
    ELEK_CUBLAS_CALL(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                                          sizeof(schemes)));
  }
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_, operation_, w_, x_, y_, y_, preference, 1, &algorithm_, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0)) {
    return No{"cuBLASLt has no kernel for " + std::to_string(p.in_features) + " to " + std::to_string(p.out_features) +
              " features in " + std::string(name_of(p.precision))};
  }
  ELEK_CUBLAS_CALL(status);
  return true;
}

Linear::~Linear() {
  if (y_ != nullptr) (void)cublasLtMatrixLayoutDestroy(y_);
  if (x_ != nullptr) (void)cublasLtMatrixLayoutDestroy(x_);
  if (w_ != nullptr) (void)cublasLtMatrixLayoutDestroy(w_);
  if (operation_ != nullptr) (void)cublasLtMatmulDescDestroy(operation_);
  if (handle_ != nullptr) (void)cublasLtDestroy(handle_);
}

std::string Linear::name() const {
  int32_t id = 0;
  size_t written = 0;
  if (cublasLtMatmulAlgoConfigGetAttribute(&algorithm_.algo, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof(id), &written) !=
      CUBLAS_STATUS_SUCCESS) {
    return "cuBLASLt";
  }
  return "cuBLASLt algorithm " + std::to_string(id);
}

void Linear::run(const void* x, const void* w, const float* bias, float* y, void* workspace, cudaStream_t stream) const {
  const float one = 1.0F;
  const float zero = 0.0F;
  if (problem_.bias) {
    ELEK_CUBLAS_CALL(cublasLtMatmulDescSetAttribute(operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)));
  }
  ELEK_CUBLAS_CALL(cublasLtMatmul(handle_, operation_, &one, w, w_, x, x_, &zero, y, y_, y, y_, &algorithm_.algo, workspace,
                                  algorithm_.workspaceSize, stream));
}

}  // namespace elek::backends::cuda
