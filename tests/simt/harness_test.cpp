// SPDX-License-Identifier: Apache-2.0
// The harness itself: indices, barriers, shuffles, shared memory, limits, and its 16-bit conversions.
#include "tests/simt/harness.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <set>

#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

void number_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += static_cast<int>(block * 100 + thread);
}

TEST(SimtHarness, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<int> out(static_cast<size_t>(3 * 2 * 2 * 4 * 3 * 2), 0);
  auto* const kernel = number_kernel;
  ELEK_LAUNCH(kernel, dim3(3, 2, 2), dim3(4, 3, 2), 0, nullptr, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], static_cast<int>(i / 24 * 100 + i % 24));
}

/// Adds up a block by a tree in shared memory.
void tree_kernel(const int* in, int* out) {
  ELEK_SHARED(int, shared, 64);
  const unsigned t = threadIdx.x;
  shared[t] = in[t];
  __syncthreads();
  for (unsigned half = 32; half > 0; half /= 2) {
    if (t < half) shared[t] += shared[t + half];
    __syncthreads();
  }
  if (t == 0) *out = shared[0];
}

TEST(SimtHarness, BarriersOrderSharedMemory) {
  std::vector<int> in(64);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<int>(i * i);
  auto* const kernel = tree_kernel;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    int out = -1;
    ELEK_LAUNCH(kernel, dim3(1), dim3(64), 0, nullptr, in.data(), &out);
    EXPECT_EQ(out, 85344);
  }
}

void shuffle_kernel(double* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  double v = lane;
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffU, v, distance);
  const int down = __shfl_down_sync(0xffffffffU, lane, 3U);
  const unsigned even = __ballot_sync(0xffffffffU, lane % 2 == 0);
  out[threadIdx.x] = v + 1000 * down + (even == 0x55555555U ? 1e6 : 0);
}

TEST(SimtHarness, ShufflesExchangeLanes) {
  std::vector<double> out(96, -1);
  auto* const kernel = shuffle_kernel;
  ELEK_LAUNCH(kernel, dim3(1), dim3(96), 0, nullptr, out.data());
  for (size_t t = 0; t < out.size(); ++t) {
    const size_t lane = t % 32, down = lane + 3 < 32 ? lane + 3 : lane;
    EXPECT_EQ(out[t], 496 + 1000 * static_cast<double>(down) + 1e6);
  }
}

void order_kernel(std::vector<unsigned>* order) { order->push_back(threadIdx.x); }

TEST(SimtHarness, TheOrderIsShuffledAndRepeatable) {
  std::set<std::vector<unsigned>> orders;
  auto* const kernel = order_kernel;
  for (const uint64_t seed : {1, 2, 3, 1}) {
    simt::set_seed(seed);
    std::vector<unsigned> order;
    ELEK_LAUNCH(kernel, dim3(1), dim3(64), 0, nullptr, &order);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 3U);
}

TEST(SimtHarness, GridsBeyondTheLimitsAreLaunchErrors) {
  auto* const kernel = number_kernel;
  const int64_t before = simt::blocks_run();
  for (const auto& [grid, block] : {std::pair{dim3(1), dim3(1025)}, {dim3(0), dim3(1)}, {dim3(1, 65536), dim3(1)}}) {
    ELEK_LAUNCH(kernel, grid, block, 0, nullptr, static_cast<int*>(nullptr));
    EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }
  EXPECT_EQ(simt::blocks_run(), before);
}

TEST(SimtHarness, SharedMemoryStartsAsNan) {
  struct Kernel {
    static void run(double* out) {
      ELEK_SHARED(double, shared, 4);
      *out = shared[2];
    }
  };
  auto* const kernel = Kernel::run;
  double out = 0;
  ELEK_LAUNCH(kernel, dim3(1), dim3(1), 0, nullptr, &out);
  EXPECT_TRUE(std::isnan(out));
}

/// Every 16-bit pattern there and back; and values around every tie, against rounding by arithmetic in double.
TEST(SimtHarness, SixteenBitConversionsRoundToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto narrow = static_cast<uint16_t>(bits);
    const double half = decode16(narrow, DType::kF16), brain = decode16(narrow, DType::kBF16);
    const auto f = static_cast<double>(__half2float({narrow})), b = static_cast<double>(__bfloat162float({narrow}));
    ASSERT_TRUE(std::isnan(half) ? std::isnan(f) : f == half && std::signbit(f) == std::signbit(half)) << bits;
    ASSERT_TRUE(std::isnan(brain) ? std::isnan(b) : b == brain && std::signbit(b) == std::signbit(brain)) << bits;
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      const auto value = static_cast<float>(decode16(narrow, dtype));
      const auto next = static_cast<float>(decode16(static_cast<uint16_t>(bits + 1), dtype));
      const float tie = value + (next - value) / 2;  // exact in f32
      for (const float v : {value, tie, std::nextafter(tie, value), std::nextafter(tie, next)}) {
        if (std::isnan(v) || std::isinf(v)) continue;
        const uint16_t got = dtype == DType::kF16 ? __float2half_rn(v).bits : __float2bfloat16_rn(v).bits;
        ASSERT_EQ(got, encode16(static_cast<double>(v), dtype)) << bits << " " << v;
      }
    }
  }
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(__half2float(__float2half_rn(kNan))) && std::isnan(__bfloat162float(__float2bfloat16_rn(kNan))));
  EXPECT_EQ(__half2float(__float2half_rn(-kInf)), -kInf);
  EXPECT_EQ(__half2float(__float2half_rn(1e30F)), kInf);
}

}  // namespace
}  // namespace elek::test
