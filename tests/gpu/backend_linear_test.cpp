// SPDX-License-Identifier: Apache-2.0
// The classifier compared with its definition: small integers, exact.
#include <cuda_runtime_api.h>

#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/linear.h"
#include "backends/cuda/memory.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "tests/gpu/gpu.h"
#include "tests/support/compare.h"

namespace elek::backends::cuda {
namespace {

TEST(Linear, IsTheDefinition) {
  ELEK_NEEDS_GPU();
  LinearProblem p;
  p.samples = 5;
  p.in_features = 24;
  p.out_features = 10;
  p.y_pitch = 12;
  p.bias = true;
  Random random(3);
  const auto integers = [&](int64_t count) {
    std::vector<float> v(static_cast<size_t>(count));
    for (float& each : v) each = static_cast<float>(random.below(7)) - 3.0F;
    return v;
  };
  const auto x = integers(p.samples * p.in_features), w = integers(p.out_features * p.in_features),
             b = integers(p.out_features);
  CudaResource memory(0);
  const CudaStream stream;
  const auto upload = [&](const std::vector<float>& v) {
    Buffer buffer(v.size() * sizeof(float), memory, "test");
    EXPECT_EQ(cudaMemcpy(buffer.data(), v.data(), buffer.bytes(), cudaMemcpyHostToDevice), cudaSuccess);
    return buffer;
  };
  const Buffer dx = upload(x), dw = upload(w), db = upload(b);
  const Buffer dy = upload(std::vector<float>(static_cast<size_t>(p.samples * p.y_pitch), -77.0F));
  const auto linear = Linear::make(p);
  ASSERT_TRUE(linear) << linear.reason();
  const Buffer workspace(linear.value()->workspace_bytes() + 1, memory, "workspace");
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);  // the copies above are in the null stream
  linear.value()->run(dx.data(), dw.data(), static_cast<const float*>(db.data()), static_cast<float*>(dy.data()),
                      workspace.data(), stream.get());
  ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  std::vector<float> y(static_cast<size_t>(p.samples * p.y_pitch));
  ASSERT_EQ(cudaMemcpy(y.data(), dy.data(), dy.bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
  std::vector<double> want(y.size(), -77.0);  // padding stays as it was
  for (int64_t n = 0; n < p.samples; ++n)
    for (int64_t o = 0; o < p.out_features; ++o) {
      double sum = static_cast<double>(b[static_cast<size_t>(o)]);
      for (int64_t i = 0; i < p.in_features; ++i)
        sum += static_cast<double>(x[static_cast<size_t>(n * p.in_features + i)]) *
               static_cast<double>(w[static_cast<size_t>(o * p.in_features + i)]);
      want[static_cast<size_t>(n * p.y_pitch + o)] = sum;
    }
  const auto mismatch = test::compare(y, want, 0.0);
  EXPECT_EQ(mismatch.count, 0) << mismatch.message();
}

}  // namespace
}  // namespace elek::backends::cuda
