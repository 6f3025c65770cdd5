// SPDX-License-Identifier: Apache-2.0
// The shipped tap-norm kernel with its barriers compiled out, for planted_test.cpp: a defect on purpose. It has its own
// namespace and file, so that nothing else is linked against it.
#define ELEK_SIMT_WITHOUT_BARRIERS
#define cuda cuda_without_barriers
#include "kernels/cuda/tap_norms.cu"
// the host parts that it calls
#include "kernels/cuda/activation.cpp"
#include "kernels/cuda/tap_norm_tables.cpp"
#undef cuda

namespace elek::test {

std::vector<double> tap_norms_without_barriers(float* nhwc, int64_t samples, const ImageShape& shape) {
  namespace planted = kernels::cuda_without_barriers;
  const kernels::TapNormPlan plan = kernels::make_tap_norm_plan(shape, {3, 1, 1, 1});
  const std::vector<int32_t> tables = planted::tap_norm_tables(plan);
  std::vector<double> sums(planted::tap_norm_bytes(plan) / 8, 0.0), norms(static_cast<size_t>(shape.channels * 9));
  std::vector<double> workspace(planted::tap_norm_workspace_bytes(plan, samples) / 8);
  planted::launch_tap_norms({nhwc, DType::kF32, samples, shape, shape.channels}, plan, tables.data(), sums.data(),
                            workspace.data(), workspace.size() * 8, nullptr);
  planted::reduce_tap_norms(plan, sums.data(), norms.data());
  return norms;
}

}  // namespace elek::test
