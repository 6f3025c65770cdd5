// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's stand-in; see libraries.h.
#include <cublasLt.h>

#include <cstring>
#include <vector>

#include "tests/simt/libraries/libraries.h"
#include "tests/simt/runtime.h"

struct cublasLtContext {
  int unused = 0;
};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type = CUDA_R_32F;
  int64_t rows = 0, columns = 0, leading = 0;
};
struct cublasLtMatmulPreferenceOpaque_t {
  size_t most_workspace = 0;
};

namespace {

constexpr size_t kWorkspaceBytes = 1024;
/// A product of more multiply-adds than this takes its time but is not computed: only a measurement of the peak is that large.
constexpr int64_t kMostMultiplyAdds = int64_t{1} << 34;

elek::DType dtype_of(cudaDataType type) {
  if (type == CUDA_R_16F) return elek::DType::kF16;
  return type == CUDA_R_16BF ? elek::DType::kBF16 : elek::DType::kF32;
}

struct Product {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t a, b, d;
  const void *a_data, *b_data;
  void *d_data, *workspace;

  void run() const {
    std::memset(workspace, 0xFF, kWorkspaceBytes);
    if (d.rows * d.columns * b.rows > kMostMultiplyAdds) return;
    const bool cut = operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const auto operand = [cut](const void* data, int64_t index, cudaDataType type) {
      const float v = elek::simt::load_element(data, index, dtype_of(type));
      return cut ? elek::simt::tf32(v) : v;
    };
    for (int64_t column = 0; column < d.columns; ++column) {
      for (int64_t row = 0; row < d.rows; ++row) {
        float sum = 0;
        for (int64_t i = 0; i < b.rows; ++i)
          sum += operand(a_data, row * a.leading + i, a.type) * operand(b_data, column * b.leading + i, b.type);
        if (operation.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += operation.bias[row];
        elek::simt::store_element(d_data, column * d.leading + row, dtype_of(d.type), sum);
      }
    }
  }
};

}  // namespace

const char* cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType) {
  *operation = new cublasLtMatmulDescOpaque_t;
  (*operation)->compute = compute;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete operation;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  const auto take = [&](auto& to) {
    if (bytes != sizeof(to)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  cudaDataType bias_type = CUDA_R_32F;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return take(operation->transpose_a);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return take(operation->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return take(operation->bias);
    default:
      return take(bias_type);
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t leading) {
  if (leading < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayoutOpaque_t{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) std::memcpy(&preference->most_workspace, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = preference->most_workspace >= kWorkspaceBytes ? 1 : 0;
  *results = {};
  results->workspaceSize = kWorkspaceBytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t*, cublasLtMatmulAlgoConfigAttributes_t,
                                                    void* value, size_t bytes, size_t* written) {
  std::memset(value, 0, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void*, cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t*, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  float factors[2];
  std::memcpy(&factors[0], alpha, sizeof(float));
  std::memcpy(&factors[1], beta, sizeof(float));
  const bool fits = operation->transpose_a == CUBLAS_OP_T && a_layout->rows == b_layout->rows &&
                    d_layout->rows == a_layout->columns && d_layout->columns == b_layout->columns;
  const bool plain = factors[0] == 1.0F && factors[1] == 0.0F && workspace_bytes >= kWorkspaceBytes;
  if (!fits || !plain) return CUBLAS_STATUS_INVALID_VALUE;
  const Product product{*operation, *a_layout, *b_layout, *d_layout, a, b, d, workspace};
  const cudaError_t status = elek::simt::enqueue(
      stream, [product] { product.run(); }, "", 5);
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
