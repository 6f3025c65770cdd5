// SPDX-License-Identifier: Apache-2.0
// The pool over device memory, with events as marks: blocks that move between streams while work on them is still queued are
// never overwritten. Each stream fills its block late (after a long queue) and reads it back.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>

#include <memory>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/memory.h"
#include "backends/cuda/stream_order.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "tests/gpu/gpu.h"

namespace elek::backends::cuda {
namespace {

TEST(GpuPool, StreamsNeverSeeEachOthersBlocks) {
  ELEK_NEEDS_GPU();
  constexpr size_t kStreams = 4;
  constexpr size_t kBytes = size_t{1} << 20;
  CudaResource upstream(0);
  CudaStreamOrder order(0);
  Pool pool(upstream, {}, order);
  std::vector<std::unique_ptr<CudaStream>> streams;
  std::vector<std::vector<unsigned char*>> copies(kStreams);
  std::vector<std::vector<int>> patterns(kStreams);
  for (size_t i = 0; i < kStreams; ++i) streams.push_back(std::make_unique<CudaStream>());
  auto* landing = static_cast<unsigned char*>(pinned_resource().allocate(kStreams * 64 * 16, "landing"));
  Random random(7);
  for (int round = 0; round < 64; ++round) {
    for (size_t s = 0; s < kStreams; ++s) {
      const cudaStream_t stream = streams[s]->get();
      const size_t bytes = kBytes + random.below(4) * kBytes;
      void* block = pool.allocate(bytes, "block", {stream});
      const int pattern = static_cast<int>(random.below(256));
      ASSERT_EQ(cudaMemsetAsync(block, pattern, bytes, stream), cudaSuccess);
      unsigned char* to = landing + (s * 64 + static_cast<size_t>(round)) * 16;
      ASSERT_EQ(cudaMemcpyAsync(to, static_cast<unsigned char*>(block) + bytes - 16, 16, cudaMemcpyDeviceToHost, stream),
                cudaSuccess);
      copies[s].push_back(to);
      patterns[s].push_back(pattern);
      pool.deallocate(block, bytes, {stream});  // its work is still queued
    }
  }
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (size_t s = 0; s < kStreams; ++s) {
    for (size_t i = 0; i < copies[s].size(); ++i) {
      for (int byte = 0; byte < 16; ++byte) ASSERT_EQ(copies[s][i][byte], patterns[s][i]) << "stream " << s << ", block " << i;
    }
  }
  pinned_resource().deallocate(landing, kStreams * 64 * 16);
  EXPECT_LT(pool.figures().upstream_allocations, 64) << "of 256 blocks: the pool does not reuse";
  EXPECT_EQ(pool.figures().live_bytes, 0U);
}

TEST(GpuStreamOrder, AMarkPassesWhenTheStreamHasComeThatFar) {
  ELEK_NEEDS_GPU();
  CudaStreamOrder order(0);
  const CudaStream stream;
  EXPECT_EQ(order.mark({stream.get()}), StreamOrder::kPassed) << "an idle stream is there already";
  void* block = cuda_resource(0).allocate(1 << 20, "block");
  ASSERT_EQ(cudaMemsetAsync(block, 1, 1 << 20, stream.get()), cudaSuccess);
  const auto first = order.mark({stream.get()});
  const auto second = order.mark({stream.get()});
  EXPECT_TRUE(second > first || second == StreamOrder::kPassed);
  order.wait(second);
  EXPECT_TRUE(order.passed(second));
  EXPECT_TRUE(order.passed(first));
  order.forget(first);
  order.forget(second);
  EXPECT_TRUE(order.passed(StreamOrder::kPassed));
  cuda_resource(0).deallocate(block, 1 << 20);
}

}  // namespace
}  // namespace elek::backends::cuda
