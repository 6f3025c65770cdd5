// SPDX-License-Identifier: Apache-2.0
// Every plan that cuDNN offers for a watched convolution, compared with the definition in double. Values are small integers, so
// every type and every order of summation is exact and the tolerance is 0. Outputs start as NaN, sums as zero.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/cuda/cudnn/in_place.h"
#include "backends/cuda/device.h"
#include "backends/cuda/memory.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "tests/gpu/gpu.h"
#include "tests/support/compare.h"
#include "tests/support/reference.h"

namespace elek::backends::cuda {
namespace {

/// Host values as bytes of the precision's storage type, and back.
std::vector<std::byte> encode(const std::vector<double>& values, Precision precision) {
  std::vector<std::byte> bytes(values.size() * size_of(storage_of(precision)));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto v = static_cast<float>(values[i]);
    if (storage_of(precision) == DType::kF16) reinterpret_cast<__half*>(bytes.data())[i] = __float2half(v);
    if (storage_of(precision) == DType::kBF16) reinterpret_cast<__nv_bfloat16*>(bytes.data())[i] = __float2bfloat16(v);
    if (storage_of(precision) == DType::kF32) reinterpret_cast<float*>(bytes.data())[i] = v;
  }
  return bytes;
}
std::vector<double> decode(const std::vector<std::byte>& bytes, Precision precision) {
  std::vector<double> values(bytes.size() / size_of(storage_of(precision)));
  for (size_t i = 0; i < values.size(); ++i) {
    float v = 0;
    if (storage_of(precision) == DType::kF16) v = __half2float(reinterpret_cast<const __half*>(bytes.data())[i]);
    if (storage_of(precision) == DType::kBF16) v = __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(bytes.data())[i]);
    if (storage_of(precision) == DType::kF32) v = reinterpret_cast<const float*>(bytes.data())[i];
    values[i] = static_cast<double>(v);
  }
  return values;
}

std::vector<double> integers(int64_t count, int64_t most, uint64_t seed) {
  Random random(seed);
  std::vector<double> values(static_cast<size_t>(count));
  for (double& v : values)
    v = static_cast<double>(static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most + 1))) - most);
  return values;
}

/// The result of the definition, from NHWC x and KRSC w: NHWC y and the six sums.
struct Want {
  std::vector<double> y;
  std::array<std::vector<double>, kFusedSumKinds> sums;
};
Want reference(const ConvProblem& p, const std::vector<double>& x, const std::vector<double>& w,
               const std::vector<double>& bias, const std::vector<double>& residual, double threshold) {
  Want want;
  const int64_t oh = p.out_height(), ow = p.out_width();
  want.y.resize(static_cast<size_t>(p.samples * oh * ow * p.filters));
  for (auto& s : want.sums) s.assign(static_cast<size_t>(p.filters), 0.0);
  for (int64_t n = 0; n < p.samples; ++n)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t k = 0; k < p.filters; ++k) {
          double z = p.epilogue == ConvEpilogue::kFull ? bias[static_cast<size_t>(k)] : 0.0;
          for (int64_t r = 0; r < p.kernel.height; ++r)
            for (int64_t s = 0; s < p.kernel.width; ++s) {
              const int64_t h = i * p.stride.height - p.padding.top + r * p.dilation.height;
              const int64_t v = j * p.stride.width - p.padding.left + s * p.dilation.width;
              if (h < 0 || h >= p.height || v < 0 || v >= p.width) continue;
              for (int64_t c = 0; c < p.channels; ++c)
                z += x[static_cast<size_t>(((n * p.height + h) * p.width + v) * p.channels + c)] *
                     w[static_cast<size_t>(((k * p.kernel.height + r) * p.kernel.width + s) * p.channels + c)];
            }
          const auto at = static_cast<size_t>(((n * oh + i) * ow + j) * p.filters + k);
          double y = z + (p.residual ? residual[at] : 0.0);
          if (p.relu && y < 0) y = 0;
          want.y[at] = y;
          const auto c = static_cast<size_t>(k);
          want.sums[0][c] += y;
          want.sums[1][c] += y * y;
          want.sums[2][c] += y > threshold ? 1 : 0;
          want.sums[3][c] = std::max(want.sums[3][c], y);
          want.sums[4][c] += z;
          want.sums[5][c] += z * z;
        }
  return want;
}

struct Case {
  Precision precision = Precision::kF16;
  int64_t kernel = 3, stride = 1;
  bool residual = false, relu = true;
  uint32_t sums = kEveryFusedSum;
  ConvEpilogue epilogue = ConvEpilogue::kFull;
};

class ConvValues : public ::testing::TestWithParam<Case> {};

TEST_P(ConvValues, OfEveryEngineAreTheDefinitions) {
  ELEK_NEEDS_GPU();
  const Case& c = GetParam();
  ConvProblem p;
  p.samples = 3;
  p.channels = p.x_pitch = 16;
  p.filters = p.y_pitch = 24;
  p.height = 9;
  p.width = 7;
  p.kernel = c.kernel;
  p.stride = c.stride;
  p.padding = c.kernel / 2;
  p.precision = c.precision;
  p.epilogue = c.epilogue;
  p.residual = c.residual;
  p.relu = c.relu;
  p.sums = c.sums;
  const float threshold = 2.0F;
  const auto x = integers(p.samples * p.height * p.width * p.channels, 2, 1);
  const auto w = integers(p.filters * p.kernel.area() * p.channels, 1, 2);
  const auto bias = integers(p.filters, 3, 3);
  const int64_t outputs = p.samples * p.out_height() * p.out_width() * p.filters;
  const auto residual = integers(outputs, 3, 4);
  const Want want = reference(p, x, w, bias, residual, static_cast<double>(threshold));
  const double most = 256.0;  // the largest integer up to which bf16 holds all
  for (const double y : want.y) ASSERT_LE(std::fabs(y), most) << "the case is not exact in bf16";

  ASSERT_TRUE(load_cudnn());
  const auto device = DeviceModel::of_device(0);
  ASSERT_TRUE(device) << device.reason();
  const CudaStream stream;
  const CudnnHandle handle(stream.get());
  CudaResource memory(0);
  Target target;
  target.handle = handle.get();
  target.stream = stream.get();
  target.scratch = &memory;
  const auto upload = [&](const std::vector<std::byte>& bytes) {
    Buffer buffer(bytes.size(), memory, "test");
    EXPECT_EQ(cudaMemcpy(buffer.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice), cudaSuccess);
    return buffer;
  };
  const Buffer dx = upload(encode(x, c.precision)), dw = upload(encode(w, c.precision));
  const Buffer db = upload(encode(bias, p.bias_dtype() == DType::kF32 ? Precision::kF32 : c.precision)),
               dr = upload(encode(residual, c.precision));
  auto graph = ConvGraph::make(p, device.value());
  ASSERT_TRUE(graph) << graph.reason();
  int64_t ran = 0;
  for (size_t i = 0; i < graph.value().candidates(); ++i) {
    const auto plan = graph.value().build(i);
    if (!plan) continue;
    const std::vector<double> poison(static_cast<size_t>(outputs), std::numeric_limits<double>::quiet_NaN());
    const Buffer dy = upload(encode(poison, c.precision));
    const Buffer ds(static_cast<size_t>(p.filters) * kFusedSumKinds * sizeof(float), memory, "sums");
    ASSERT_EQ(cudaMemset(ds.data(), 0, ds.bytes()), cudaSuccess);
    const Buffer workspace(std::max<size_t>(plan.value().workspace_bytes(), 1), memory, "workspace");
    ASSERT_EQ(cudaMemset(workspace.data(), 0xFF, workspace.bytes()), cudaSuccess);
    ConvPointers pointers;
    pointers.x = dx.data();
    pointers.w = dw.data();
    pointers.bias = db.data();
    pointers.residual = dr.data();
    pointers.y = dy.data();
    pointers.threshold = threshold;
    for (int64_t kind = 0; kind < kFusedSumKinds; ++kind) {
      pointers.sums[static_cast<size_t>(kind)] = static_cast<float*>(ds.data()) + kind * p.filters;
    }
    // Fills and copies above are in the null stream, for which a non-blocking stream does not wait.
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    try {
      plan.value().execute(handle.get(), pointers, workspace.data());
    } catch (const DeviceError& error) {  // sessions do not take one that builds and refuses to run
      ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess) << plan.value().engine() << ": " << error.what();
      continue;
    }
    ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess) << plan.value().engine();
    std::vector<std::byte> y(dy.bytes());
    std::vector<float> sums(ds.bytes() / sizeof(float));
    ASSERT_EQ(cudaMemcpy(y.data(), dy.data(), y.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(sums.data(), ds.data(), ds.bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
    const auto mismatch = test::compare(decode(y, c.precision), want.y, 0.0);
    EXPECT_EQ(mismatch.count, 0) << plan.value().engine() << ", y: " << mismatch.message();
    for (size_t kind = 0; kind < kFusedSumKinds; ++kind) {
      if ((p.sums & (1U << kind)) == 0) continue;
      const std::span<const float> got(sums.data() + kind * static_cast<size_t>(p.filters), static_cast<size_t>(p.filters));
      const auto off = test::compare(got, want.sums[kind], 0.0);
      EXPECT_EQ(off.count, 0) << plan.value().engine() << ", sum " << kind << ": " << off.message();
    }
    if (p.residual && why_not_in_place(plan.value(), target).empty()) {  // then sessions run it so
      const Buffer over = upload(encode(residual, c.precision));
      pointers.residual = pointers.y = over.data();
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      plan.value().execute(handle.get(), pointers, workspace.data());
      ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess) << plan.value().engine();
      std::vector<std::byte> in_place(over.bytes());
      ASSERT_EQ(cudaMemcpy(in_place.data(), over.data(), over.bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
      EXPECT_EQ(in_place, y) << plan.value().engine() << " over its residual";
    }
    ++ran;
  }
  EXPECT_GE(ran, 1) << "no engine built and ran: " << graph.value().refusals();
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ConvValues,
    ::testing::Values(Case{Precision::kF16, 3, 1, false, true}, Case{Precision::kF16, 3, 2, true, true},
                      Case{Precision::kF16, 1, 1, true, true}, Case{Precision::kBf16, 3, 1, true, true},
                      Case{Precision::kTf32, 3, 1, true, true},
                      Case{Precision::kF16, 1, 2, false, false, kEveryFusedSum & ~kMaxY},
                      Case{Precision::kF16, 3, 1, false, true, 0}, Case{Precision::kF16, 3, 1, true, true, 0},
                      Case{Precision::kF16, 1, 2, false, false, 0}, Case{Precision::kBf16, 1, 1, true, true, 0},
                      Case{Precision::kTf32, 3, 1, true, true, 0}, Case{Precision::kF32, 3, 1, true, true, 0},
                      Case{Precision::kF16, 3, 1, false, false, 0, ConvEpilogue::kNone},
                      Case{Precision::kBf16, 3, 1, false, false, 0, ConvEpilogue::kNone},
                      Case{Precision::kTf32, 3, 1, false, false, 0, ConvEpilogue::kNone},
                      Case{Precision::kF32, 3, 1, false, false, 0, ConvEpilogue::kNone}));

}  // namespace
}  // namespace elek::backends::cuda
