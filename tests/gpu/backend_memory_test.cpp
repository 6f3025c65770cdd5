// SPDX-License-Identifier: Apache-2.0
// Device and pinned memory: blocks are aligned, disjoint and counted, the error for no memory explains itself, everything is
// given back.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>

#include <memory>
#include <thread>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/memory.h"
#include "core/error.h"
#include "tests/gpu/gpu.h"

namespace elek::backends::cuda {
namespace {

enum class Source : uint8_t { kMalloc, kMallocAsync, kPinned };

class DeviceMemory : public ::testing::TestWithParam<Source> {
 protected:
  void SetUp() override {
    ELEK_NEEDS_GPU();
    if (GetParam() == Source::kMalloc) memory_ = std::make_unique<CudaResource>(0);
    if (GetParam() == Source::kMallocAsync) memory_ = std::make_unique<CudaAsyncResource>(0);
    if (GetParam() == Source::kPinned) memory_ = std::make_unique<PinnedResource>();
  }
  std::unique_ptr<MemoryResource> memory_;
};

TEST_P(DeviceMemory, BlocksAreDisjointAndKeepTheirPattern) {
  const CudaStream stream;
  const Stream order{stream.get()};
  std::vector<std::pair<void*, size_t>> blocks;
  for (const size_t bytes : {size_t{1}, size_t{255}, size_t{256}, size_t{257}, size_t{1} << 20}) {
    void* block = memory_->allocate(bytes, "block", order);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kAlignment, 0U);
    const int pattern = static_cast<int>(17 * blocks.size() + 3);
    ASSERT_EQ(cudaMemsetAsync(block, pattern, bytes, stream.get()), cudaSuccess);
    blocks.emplace_back(block, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    std::vector<unsigned char> copy(blocks[i].second, 0);
    ASSERT_EQ(cudaMemcpyAsync(copy.data(), blocks[i].first, copy.size(), cudaMemcpyDefault, stream.get()), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
    EXPECT_THAT(copy, ::testing::Each(static_cast<unsigned char>(17 * i + 3))) << "block " << i;
  }
  for (const auto& [block, bytes] : blocks) memory_->deallocate(block, bytes, order);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
}

TEST_P(DeviceMemory, RunningOutIsExplainedAndLeavesNothingBehind) {
  constexpr size_t kTooMuch = size_t{1} << 50;
  try {
    (void)memory_->allocate(kTooMuch, "everything");
    FAIL() << "a petabyte";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.figures().requested_bytes, kTooMuch);
    EXPECT_EQ(error.figures().in_use_bytes, 0U);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("everything"));
  }
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "the refused call's error is still recorded";
  void* block = memory_->allocate(1024, "a little");
  EXPECT_NE(block, nullptr);
  memory_->deallocate(block, 1024);
}

// Stream order: a block that one thread gives back on its stream may be used elsewhere only when the stream has reached that
// point.
TEST_P(DeviceMemory, ThreadsOnStreamsOfTheirOwnDoNotDisturbEachOther) {
  constexpr size_t kBytes = 1 << 16;
  std::vector<int> bad(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < bad.size(); ++t) {
    threads.emplace_back([&, t] {
      const CudaStream stream;
      const Stream order{stream.get()};
      std::vector<unsigned char> copy(kBytes);
      for (int round = 0; round < 50; ++round) {
        void* block = memory_->allocate(kBytes, "block", order);
        const int pattern = static_cast<int>(64 * t) + round;
        (void)cudaMemsetAsync(block, pattern, kBytes, stream.get());
        (void)cudaMemcpyAsync(copy.data(), block, kBytes, cudaMemcpyDefault, stream.get());
        if (cudaStreamSynchronize(stream.get()) != cudaSuccess) ++bad[t];
        for (const unsigned char c : copy) bad[t] += c != static_cast<unsigned char>(pattern) ? 1 : 0;
        memory_->deallocate(block, kBytes, order);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(bad, ::testing::Each(0));
}

INSTANTIATE_TEST_SUITE_P(Sources, DeviceMemory, ::testing::Values(Source::kMalloc, Source::kMallocAsync, Source::kPinned),
                         [](const auto& instance) {
                           return instance.param == Source::kMalloc        ? "cudaMalloc"
                                  : instance.param == Source::kMallocAsync ? "cudaMallocAsync"
                                                                           : "pinned";
                         });

TEST(DeviceGuard, PutsTheThreadsDeviceBack) {
  ELEK_NEEDS_GPU();
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  { const DeviceGuard guard(count - 1); }
  int now = -1;
  ASSERT_EQ(cudaGetDevice(&now), cudaSuccess);
  EXPECT_EQ(now, 0);
}

TEST(CudaGraph, ReplaysWhatWasRecordedAndNothingElse) {
  ELEK_NEEDS_GPU();
  const CudaStream stream;
  CudaResource memory(0);
  auto* block = static_cast<unsigned char*>(memory.allocate(4, "block"));
  ASSERT_EQ(cudaMemset(block, 1, 4), cudaSuccess);
  CudaGraph graph;
  graph.record(stream.get(), [&] { (void)cudaMemsetAsync(block, 7, 2, stream.get()); });
  unsigned char copy[4] = {};
  ASSERT_EQ(cudaMemcpy(copy, block, 4, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_THAT(copy, ::testing::ElementsAre(1, 1, 1, 1)) << "recording ran it";
  graph.launch(stream.get());
  ASSERT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(copy, block, 4, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_THAT(copy, ::testing::ElementsAre(7, 7, 1, 1));
  CudaGraph failed;
  EXPECT_THROW(failed.record(stream.get(), [] { throw DeviceError("planned"); }), DeviceError);
  EXPECT_FALSE(failed.recorded());
  EXPECT_EQ(cudaMemsetAsync(block, 0, 4, stream.get()), cudaSuccess) << "the stream is still recording";
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  memory.deallocate(block, 4);
}

}  // namespace
}  // namespace elek::backends::cuda
