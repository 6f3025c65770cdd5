// SPDX-License-Identifier: Apache-2.0
// The stand-in device follows the rules that the backend relies on, and shows when they are broken.
#include "tests/simt/runtime.h"

#include <gmock/gmock.h>

#include <cstring>
#include <thread>
#include <vector>

#include "tests/simt/harness.h"

namespace elek::simt {
namespace {

class SimtRuntime : public ::testing::Test {
 protected:
  void SetUp() override { reboot({.devices = 2}); }
  void TearDown() override {
    EXPECT_EQ(counts().queued, 0);
    EXPECT_EQ(counts().device_bytes + counts().pinned_bytes, 0U);
    reboot();
    set_pace(Pace::kRandom, 1);
  }
};

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}
unsigned char* new_block(size_t bytes) {
  void* block = nullptr;
  EXPECT_EQ(cudaMalloc(&block, bytes), cudaSuccess);
  return static_cast<unsigned char*>(block);
}
unsigned char* new_pinned(size_t bytes) {
  void* block = nullptr;
  EXPECT_EQ(cudaHostAlloc(&block, bytes, 0), cudaSuccess);
  return static_cast<unsigned char*>(block);
}

TEST_F(SimtRuntime, StreamsWorkWhenSomebodyWaits) {
  set_pace(Pace::kLazy, 1);
  const cudaStream_t stream = new_stream();
  unsigned char* block = new_block(4);
  ASSERT_EQ(cudaMemsetAsync(block, 7, 4, stream), cudaSuccess);
  EXPECT_EQ(block[0], 0xFF) << "fresh memory, and nothing has run";
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(block[3], 7);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

/// Stream b copies the data that stream a has filled, after an event. Returns how often the copy has the right bytes.
int right_of_twenty(bool wait) {
  int right = 0;
  unsigned char *from = new_block(8), *to = new_block(8);
  cudaEvent_t filled = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&filled, cudaEventDisableTiming), cudaSuccess);
  const cudaStream_t a = new_stream(), b = new_stream();
  for (int round = 1; round <= 20; ++round) {
    set_pace(Pace::kRandom, static_cast<uint64_t>(round));
    EXPECT_EQ(cudaMemsetAsync(from, round, 8, a), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(filled, a), cudaSuccess);
    if (wait) {
      EXPECT_EQ(cudaStreamWaitEvent(b, filled, 0), cudaSuccess);
    }
    EXPECT_EQ(cudaMemcpyAsync(to, from, 8, cudaMemcpyDeviceToDevice, b), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(b), cudaSuccess);
    right += to[0] == round ? 1 : 0;
    EXPECT_EQ(cudaStreamSynchronize(a), cudaSuccess);
  }
  for (const cudaStream_t stream : {a, b}) EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(filled), cudaSuccess);
  for (unsigned char* block : {from, to}) EXPECT_EQ(cudaFree(block), cudaSuccess);
  return right;
}

TEST_F(SimtRuntime, EventsOrderStreamsAndAMissingWaitShows) {
  EXPECT_EQ(right_of_twenty(true), 20);
  EXPECT_LT(right_of_twenty(false), 20);
  ignore_waits(true);
  EXPECT_LT(right_of_twenty(true), 20) << "the planted defect";
}

TEST_F(SimtRuntime, PinnedMemoryIsReadWhenTheCopyRunsPageableBefore) {
  set_pace(Pace::kLazy, 1);
  const cudaStream_t stream = new_stream();
  unsigned char *block = new_block(1), *pinned = new_pinned(1);
  unsigned char pageable = 1;
  ASSERT_EQ(cudaMemcpyAsync(block, &pageable, 1, cudaMemcpyHostToDevice, stream), cudaSuccess);
  pageable = 2;
  ASSERT_EQ(cudaMemcpyAsync(&pageable, block, 1, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(pageable, 1) << "back when it is there";
  *pinned = 1;
  ASSERT_EQ(cudaMemcpyAsync(block, pinned, 1, cudaMemcpyHostToDevice, stream), cudaSuccess);
  *pinned = 2;
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(*block, 2);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

/// A stream copies what a fill and a pageable copy in the null stream have written. Returns how often it gets the right bytes.
int right_after_null_stream(bool wait) {
  int right = 0;
  unsigned char *block = new_block(2), *copy = new_block(2);
  const cudaStream_t stream = new_stream();
  for (unsigned char round = 1; round <= 20; ++round) {
    set_pace(Pace::kRandom, round);
    EXPECT_EQ(cudaMemset(block, round, 1), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(block + 1, &round, 1, cudaMemcpyHostToDevice), cudaSuccess);
    if (wait) {
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    }
    EXPECT_EQ(cudaMemcpyAsync(copy, block, 2, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    right += copy[0] == round && copy[1] == round ? 1 : 0;
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(copy, 0, 2, stream), cudaSuccess);  // else the copy would count as repeated
  }
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  for (unsigned char* each : {block, copy}) EXPECT_EQ(cudaFree(each), cudaSuccess);
  return right;
}

TEST_F(SimtRuntime, TheNullStreamKeepsItsOrderAndOthersDoNotWaitForIt) {
  EXPECT_EQ(right_after_null_stream(true), 20);
  EXPECT_LT(right_after_null_stream(false), 20) << "a missing synchronisation cannot be seen";
  set_pace(Pace::kLazy, 1);
  unsigned char* block = new_block(2);
  unsigned char back[2] = {};
  ASSERT_EQ(cudaMemset(block, 5, 2), cudaSuccess);
  EXPECT_EQ(block[0], 0xFF) << "it returned before it was done";
  ASSERT_EQ(cudaMemset(block, 6, 1), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(back, block, 2, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_THAT(back, ::testing::ElementsAre(6, 5)) << "a copy to the host waits";
  EXPECT_EQ(cudaFree(block), cudaSuccess);
}

TEST_F(SimtRuntime, WhatIsOutsideMemoryOrOnTheWrongSideIsRefused) {
  unsigned char* block = new_block(16);
  unsigned char host[32] = {};
  EXPECT_EQ(cudaMemset(block + 8, 0, 9), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(block, host, 17, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host, block, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_EQ(cudaFree(block), cudaErrorInvalidValue) << "twice";
  EXPECT_EQ(cudaMemset(block, 0, 1), cudaErrorInvalidValue) << "after its end";
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

void nothing() {}

TEST_F(SimtRuntime, AStreamBelongsToItsDevice) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  const cudaStream_t stream = new_stream();
  launch(nothing, dim3(1), dim3(1), 0, stream);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  launch(nothing, dim3(1), dim3(1), 0, stream);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle) << "after its end";
}

TEST_F(SimtRuntime, RecordingRunsNothingAndEndsAtACallThatWaits) {
  const cudaStream_t stream = new_stream();
  unsigned char* block = new_block(2);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(block, 5, 2, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(block[0], 0xFF);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(last_graph().memsets, 1);
  ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(block[0], 5);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 1), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t broken = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &broken), cudaErrorStreamCaptureInvalidated);
  // Another thread's call breaks a global recording, but not a thread's own one.
  for (const cudaStreamCaptureMode mode : {cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeGlobal}) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess);
    cudaError_t of_another = cudaSuccess;
    std::thread([&] { of_another = cudaMalloc(&more, 1); }).join();
    const bool global = mode == cudaStreamCaptureModeGlobal;
    EXPECT_EQ(of_another, global ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
    EXPECT_EQ(cudaStreamEndCapture(stream, &broken), global ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
    if (!global) {
      EXPECT_EQ(cudaGraphDestroy(broken), cudaSuccess);
      EXPECT_EQ(cudaFree(more), cudaSuccess);
    }
  }
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

// Repeated work is being timed, so most of it does not run: alone it runs once, in turns with another one twice. A third one
// between them starts again.
TEST_F(SimtRuntime, WhatIsTimedTakesItsTimeAndIsDoneAFewTimesOnly) {
  set_pace(Pace::kLazy, 1);
  const cudaStream_t stream = new_stream();
  int done[2] = {};
  const auto put = [&](int which) {
    EXPECT_EQ(enqueue(
                  stream, [&done, which] { ++done[which]; }, which == 0 ? "a" : "b", 1),
              cudaSuccess);
  };
  for (int i = 0; i < 5; ++i) put(0);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(done[0], 1);
  unsigned char* block = new_block(1);
  EXPECT_EQ(cudaMemsetAsync(block, 0, 1, stream), cudaSuccess);
  const int64_t before = counts().operations;
  for (int i = 0; i < 5; ++i) put(0), put(1);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(done[0], 1 + 2);
  EXPECT_EQ(done[1], 2);
  EXPECT_EQ(counts().operations, before + 11) << "all of them took their time, and the fill";
  EXPECT_EQ(cudaMemsetAsync(block, 0, 1, stream), cudaSuccess);
  put(0), put(1);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_EQ(done[0] + done[1], 7);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(SimtRuntime, AFaultStays) {
  const cudaStream_t stream = new_stream();
  unsigned char* block = new_block(1);
  set_pace(Pace::kLazy, 1);
  fault_after(2);
  EXPECT_EQ(cudaMemsetAsync(block, 1, 1, stream), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(block, 2, 1, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemset(block, 0, 1), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(*block, 1) << "what came before it";
  reboot();
  EXPECT_EQ(cudaFree(block), cudaErrorInvalidValue) << "lost";
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

}  // namespace
}  // namespace elek::simt
