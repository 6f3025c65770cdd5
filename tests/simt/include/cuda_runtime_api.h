// SPDX-License-Identifier: Apache-2.0
// Replaces NVIDIA's header for kernels/cuda and the CUDA backend: the CUDA language's words for g++ and clang++, the runtime
// calls that elek uses, on host memory, and the launch and shared-memory macros of kernels/cuda/device/launch.h. It needs
// nothing of the CUDA toolkit. See harness.h for how a grid runs, runtime.h for the stand-ins of devices, streams and events.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#define ELEK_SIMT 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  constexpr explicit dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
// Indices of the running thread. The scheduler sets them whenever it resumes a thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorCudartUnloading = 4,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorDevicesUnavailable = 46,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorECCUncorrectable = 214,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind : int {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};
enum cudaStreamCaptureMode : int { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaDeviceAttr : int { cudaDevAttrMemoryPoolsSupported = 115 };
enum cudaMemPoolAttr : int { cudaMemPoolAttrReleaseThreshold = 4 };
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
using cudaMemPool_t = struct CUmemPoolHandle_st*;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0;
inline constexpr unsigned cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocPortable = 1;
#define CUDART_VERSION 13000

cudaError_t cudaPeekAtLastError();
cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaMalloc(void** data, size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemset(void* to, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);

namespace elek::simt {

/// A plain function pointer with its data: no allocation, no virtual call.
struct Body {
  void (*call)(const void* data);
  const void* data;
};
void run_grid(dim3 grid, dim3 block, const Body& body);
/// Whether a device accepts this launch; if not, the error is recorded.
bool check_grid(dim3 grid, dim3 block);
/// Puts a kernel on the stream (runtime.h). Launches with the same `name` count as repetitions.
void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::function<void()> body, std::string name);

/// Runs what waits in the null stream.
void finish_null_stream();

/// A kernel in the null stream, as in the tests of single kernels, runs at once, after what was put there before it. Other
/// streams run when the stand-in device chooses them.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t, cudaStream_t stream, const Arguments&... arguments) {
  if (!check_grid(grid, block)) return;
  const std::tuple<Parameters...> copies(arguments...);  // as a launch copies its arguments
  const auto call = [kernel, copies] { std::apply(kernel, copies); };
  if (stream == nullptr) {
    finish_null_stream();
    return run_grid(grid, block, {[](const void* data) { (*static_cast<decltype(call)*>(data))(); }, &call});
  }
  std::string name(reinterpret_cast<const char*>(&kernel), sizeof(kernel));
  std::apply([&name](const auto&... each) { (name.append(reinterpret_cast<const char*>(&each), sizeof(each)), ...); }, copies);
  enqueue_kernel(stream, grid, block, call, std::move(name));
}

void sync_threads(const char* file, int line);

/// A warp operation: passes `value`, waits for all lanes of `mask`, returns the value of lane `source`. Ballot: one bit per
/// lane.
enum class WarpOp : uint8_t { kShuffle, kBallot };
uint64_t exchange(WarpOp op, unsigned mask, uint64_t value, int source, const char* file, int line);
int lane_id();

template <typename T>
T shuffle(unsigned mask, T value, int source, const char* file, int line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(WarpOp::kShuffle, mask, bits, source, file, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

/// Shared memory of the running block. It is allocated when a thread first asks for `site`, filled with NaN, and guarded by the
/// heap.
void* shared_bytes(size_t bytes, const void* site);
template <typename T, typename Site>
T* shared_array(size_t count, const Site& site) {
  return static_cast<T*>(shared_bytes(count * sizeof(T), site()));
}

[[noreturn]] void device_check_failed(const char* condition, const char* file, int line);

}  // namespace elek::simt

#ifndef ELEK_SIMT_WITHOUT_BARRIERS  // a planted defect: planted_test.cpp
#define __syncthreads() ::elek::simt::sync_threads(__FILE__, __LINE__)
#else
#define __syncthreads() static_cast<void>(0)
#endif
#define __syncwarp(...) \
  static_cast<void>(::elek::simt::exchange(::elek::simt::WarpOp::kBallot, 0xffffffffU, 0, 0, __FILE__, __LINE__))
#define __shfl_sync(mask, value, lane) ::elek::simt::shuffle(mask, value, static_cast<int>(lane), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) \
  ::elek::simt::shuffle(mask, value, ::elek::simt::lane_id() ^ static_cast<int>(lanes), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, lanes)                                    \
  ::elek::simt::shuffle(mask, value,                                            \
                        ::elek::simt::lane_id() + static_cast<int>(lanes) < 32  \
                            ? ::elek::simt::lane_id() + static_cast<int>(lanes) \
                            : ::elek::simt::lane_id(),                          \
                        __FILE__, __LINE__)
#define __ballot_sync(mask, predicate) \
  static_cast<unsigned>(::elek::simt::exchange(::elek::simt::WarpOp::kBallot, mask, (predicate) ? 1 : 0, 0, __FILE__, __LINE__))

/// Threads run one at a time, so plain additions are atomic. Integers only: the kernels use no float atomics.
template <typename T>
T atomicAdd(T* to, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "float atomics add in no fixed order");
  const T before = *to;
  *to = static_cast<T>(before + value);
  return before;
}

#define ELEK_LAUNCH(kernel, grid, block, shared, stream, ...) \
  ::elek::simt::launch(kernel, (grid), (block), (shared), (stream), __VA_ARGS__)
#define ELEK_SHARED(type, name, count)                              \
  type* const name = ::elek::simt::shared_array<type>((count), [] { \
    static const char site = 0;                                     \
    return static_cast<const void*>(&site);                         \
  })
#define ELEK_DEVICE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::elek::simt::device_check_failed(#condition, __FILE__, __LINE__))
