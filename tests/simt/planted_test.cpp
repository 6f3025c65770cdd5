// SPDX-License-Identifier: Apache-2.0
// Planted defects: the harness finds each of them. First small kernels with one defect each, then the shipped tap-norm kernel
// compiled again without its barriers (planted_kernel.cpp), which must give wrong results. Accesses out of bounds are tested
// under AddressSanitizer, where they end the process (a death test).
#include <gmock/gmock.h>

#include "kernels/cuda/device/vector.h"
#include "tests/gpu/kernels/support.h"
#include "tests/simt/harness.h"

namespace elek::test {

/// planted_kernel.cpp: 3x3, stride 1, padding 1, of a dense NHWC f32 activation.
std::vector<double> tap_norms_without_barriers(float* nhwc, int64_t samples, const ImageShape& shape);

namespace {

/// Reverses a block through shared memory; without the barrier a thread may read what nobody has written.
template <bool kBarrier>
void reverse_kernel(const float* in, float* out) {
  ELEK_SHARED(float, shared, 64);
  shared[threadIdx.x] = in[threadIdx.x];
  if constexpr (kBarrier) __syncthreads();
  out[threadIdx.x] = shared[63 - threadIdx.x];
}

template <bool kBarrier>
int wrong_orders() {
  int wrong = 0;
  auto* const kernel = reverse_kernel<kBarrier>;
  std::vector<float> in(64);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  const std::vector<float> want(in.rbegin(), in.rend());
  for (uint64_t seed = 0; seed < 20; ++seed) {
    simt::set_seed(seed);
    std::vector<float> out(64, -1.0F);
    ELEK_LAUNCH(kernel, dim3(1), dim3(64), 0, nullptr, in.data(), out.data());
    wrong += out == want ? 0 : 1;
  }
  return wrong;
}

TEST(SimtPlanted, AMissingBarrierShowsInEveryOrder) {
  EXPECT_EQ(wrong_orders<true>(), 0);
  EXPECT_EQ(wrong_orders<false>(), 20);
}

/// Shared memory written again in the next turn of a loop, before all have read it: the second barrier of the turn is missing.
template <bool kSecondBarrier>
void rotate_kernel(int* out) {
  ELEK_SHARED(int, shared, 32);
  int mine = static_cast<int>(threadIdx.x);
  for (int turn = 0; turn < 3; ++turn) {
    shared[threadIdx.x] = mine;
    __syncthreads();
    mine = shared[(threadIdx.x + 1) % 32];
    if constexpr (kSecondBarrier) __syncthreads();
  }
  out[threadIdx.x] = mine;
}

TEST(SimtPlanted, AMissingBarrierAtTheEndOfALoopShows) {
  int wrong[2] = {};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const bool second : {false, true}) {
      simt::set_seed(seed);
      auto* const kernel = second ? rotate_kernel<true> : rotate_kernel<false>;
      std::vector<int> out(32, -1);
      ELEK_LAUNCH(kernel, dim3(1), dim3(32), 0, nullptr, out.data());
      for (int t = 0; t < 32; ++t) {
        if (out[static_cast<size_t>(t)] == (t + 3) % 32) continue;
        ++wrong[second ? 1 : 0];
        break;
      }
    }
  }
  EXPECT_EQ(wrong[1], 0);
  EXPECT_GE(wrong[0], 18);
}

std::string error_of(void (*kernel)(), unsigned threads) {
  try {
    simt::launch(kernel, dim3(1), dim3(threads), 0, nullptr);
  } catch (const simt::SimtError& error) {
    return error.what();
  }
  return "no error";
}

void half_at_barrier() {
  if (threadIdx.x < 16) __syncthreads();
}
void leave_before_barrier() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}
void two_barriers() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
void lane_missing() {
  if (threadIdx.x != 5) (void)__shfl_xor_sync(0xffffffffU, 1, 1);
}
void lane_outside_mask() {
  if (threadIdx.x < 16) (void)__shfl_xor_sync(0xffffU, 1, 16);
}
void misaligned() {
  alignas(16) static const float data[8] = {};
  float out[4];
  kernels::cuda::load_vector<4>(data + 1, out);
}

TEST(SimtPlanted, DivergenceIsAnError) {
  EXPECT_THAT(error_of(half_at_barrier, 32), testing::HasSubstr("16 wait at the barrier"));
  EXPECT_THAT(error_of(leave_before_barrier, 32), testing::HasSubstr("1 have ended; 31 wait at the barrier"));
  EXPECT_THAT(error_of(two_barriers, 32), testing::HasSubstr("barrier divergence"));
  EXPECT_THAT(error_of(lane_missing, 32), testing::HasSubstr("31 wait at the warp operation"));
  EXPECT_THAT(error_of(lane_outside_mask, 32), testing::HasSubstr("not in its mask"));
  EXPECT_THAT(error_of(misaligned, 1), testing::HasSubstr("device check failed"));
}

/// The shipped reduction without its barrier: the comparison with the reference must fail.
TEST(SimtPlanted, TheShippedKernelWithoutItsBarrierIsWrong) {
  const ImageShape shape{16, 6, 6};
  const auto values = small_integers(static_cast<size_t>(2 * shape.elements()), 3);
  const DeviceActivation x(DType::kF32, 2, shape, 16, values);
  simt::set_seed(1);
  const std::vector<double> got = tap_norms_without_barriers(x.memory.as<float>(), 2, shape);
  EXPECT_GT(compare(got, tap_norms(values, 2, shape, {3, 1, 1, 1}), 0).count, 0);
}

#if defined(__SANITIZE_ADDRESS__)
void beyond_shared() {
  ELEK_SHARED(float, shared, 8);
  shared[threadIdx.x] = 1.0F;
}
void beyond_buffer_kernel(float* data) { data[threadIdx.x] = data[threadIdx.x + 1]; }

TEST(SimtPlantedDeathTest, AccessesOutsideMemoryEndTheRun) {
  EXPECT_DEATH((void)error_of(beyond_shared, 9), "heap-buffer-overflow");
  DeviceBuffer buffer(32 * sizeof(float));
  auto* const kernel = beyond_buffer_kernel;
  EXPECT_DEATH(ELEK_LAUNCH(kernel, dim3(1), dim3(32), 0, nullptr, buffer.as<float>()), "use-after-poison");
}
#endif

}  // namespace
}  // namespace elek::test
