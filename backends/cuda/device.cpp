// SPDX-License-Identifier: Apache-2.0
// Tests: tests/deviceless/device_test.cpp, tests/gpu/backend_memory_test.cpp
#include "backends/cuda/device.h"

#include "backends/cuda/error.h"

namespace elek::backends::cuda {

DeviceGuard::DeviceGuard(int index) {
  ELEK_CUDA_CALL(cudaGetDevice(&before_));
  if (before_ == index) return;
  ELEK_CUDA_CALL(cudaSetDevice(index));
  changed_ = true;
}

DeviceGuard::~DeviceGuard() {
  if (changed_) report_cuda(cudaSetDevice(before_), "cudaSetDevice");
}

std::string cuda_version_name(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Result<DeviceFacts> find_device(int index) {
  const auto no = [](cudaError_t status, const std::string& what) {
    (void)cudaGetLastError();
    return No{explain(status, what)};
  };
  DeviceFacts facts;
  facts.index = index;
  facts.runtime_version = CUDART_VERSION;
  (void)cudaDriverGetVersion(&facts.driver_version);
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    const std::string driver =
        facts.driver_version == 0 ? "no NVIDIA driver" : "a driver for CUDA " + cuda_version_name(facts.driver_version);
    return no(status, "looking for GPUs with " + driver);
  }
  if (index < 0 || index >= count) {
    return No{"there is no GPU " + std::to_string(index) + ": this process sees " + std::to_string(count) +
              " (nvidia-smi lists them)"};
  }
  cudaDeviceProp properties{};
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) {
    return no(status, "asking GPU " + std::to_string(index) + " for its properties");
  }
  facts.name = properties.name;
  facts.compute_capability = 10 * properties.major + properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory_bytes = properties.totalGlobalMem;
  return facts;
}

CudaStream::CudaStream() { ELEK_CUDA_CALL(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }

CudaStream::~CudaStream() {
  if (stream_ != nullptr) report_cuda(cudaStreamDestroy(stream_), "cudaStreamDestroy");
}

CudaEvent::CudaEvent(Timing timing) {
  const unsigned flags = timing == Timing::kOn ? cudaEventDefault : cudaEventDisableTiming;
  ELEK_CUDA_CALL(cudaEventCreateWithFlags(&event_, flags));
}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) report_cuda(cudaEventDestroy(event_), "cudaEventDestroy");
}

void CudaEvent::record(cudaStream_t stream) { ELEK_CUDA_CALL(cudaEventRecord(event_, stream)); }

void CudaEvent::make_wait(cudaStream_t stream) const { ELEK_CUDA_CALL(cudaStreamWaitEvent(stream, event_, 0)); }

void CudaGraph::clear() noexcept {
  if (executable_ != nullptr) report_cuda(cudaGraphExecDestroy(executable_), "cudaGraphExecDestroy");
  executable_ = nullptr;
}

// Thread-local, because other threads of the process may make CUDA calls meanwhile (loaders allocate pinned memory).
void CudaGraph::begin(cudaStream_t stream) { ELEK_CUDA_CALL(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); }

void CudaGraph::abandon(cudaStream_t stream) noexcept {
  cudaGraph_t graph = nullptr;
  (void)cudaStreamEndCapture(stream, &graph);  // it fails: the capture is being abandoned because of an error
  if (graph != nullptr) report_cuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  (void)cudaGetLastError();
}

void CudaGraph::end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  ELEK_CUDA_CALL(cudaStreamEndCapture(stream, &graph));
  const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
  report_cuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  ELEK_CUDA_CALL(status);
}

void CudaGraph::launch(cudaStream_t stream) const { ELEK_CUDA_CALL(cudaGraphLaunch(executable_, stream)); }

}  // namespace elek::backends::cuda
