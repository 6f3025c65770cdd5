// SPDX-License-Identifier: Apache-2.0
// Tests: tests/gpu/backend_pool_test.cpp
#include "backends/cuda/stream_order.h"

#include <memory>

#include "backends/cuda/device.h"
#include "backends/cuda/error.h"
#include "core/error.h"

namespace elek::backends::cuda {

CudaStreamOrder::~CudaStreamOrder() {
  for (const auto& [mark, event] : marks_) report_cuda(cudaEventDestroy(event), "cudaEventDestroy");
  for (const cudaEvent_t event : idle_) report_cuda(cudaEventDestroy(event), "cudaEventDestroy");
}

cudaEvent_t CudaStreamOrder::take_event() {
  if (!idle_.empty()) {
    const cudaEvent_t event = idle_.back();
    idle_.pop_back();
    return event;
  }
  cudaEvent_t event = nullptr;
  ELEK_CUDA_CALL(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

StreamOrder::Mark CudaStreamOrder::mark(Stream stream) noexcept {
  const auto queue = static_cast<cudaStream_t>(stream.handle);
  try {
    const DeviceGuard guard(index_);
    // An idle stream needs no mark: what was given back on it can be used again at once, such as a session's blocks by the next
    // session.
    if (cudaStreamQuery(queue) == cudaSuccess) return kPassed;
    (void)cudaGetLastError();
    const std::lock_guard lock(mutex_);
    idle_.reserve(idle_.size() + marks_.size() + 2);  // so that forget() never allocates
    const cudaEvent_t event = take_event();
    if (const cudaError_t status = cudaEventRecord(event, queue); status != cudaSuccess) {
      idle_.push_back(event);
      ELEK_CUDA_CALL(status);
    }
    marks_[++last_] = event;
    return last_;
  } catch (const std::exception&) {  // no event is available: wait here instead
    report_cuda(cudaStreamSynchronize(queue), "waiting for a stream");
    return kPassed;
  }
}

cudaEvent_t CudaStreamOrder::event_of(Mark mark) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = marks_.find(mark);
  return found == marks_.end() ? nullptr : found->second;
}

bool CudaStreamOrder::passed(Mark mark) noexcept {
  const cudaEvent_t event = event_of(mark);
  if (event == nullptr) return true;
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  report_cuda(status, "cudaEventQuery");
  return true;
}

void CudaStreamOrder::wait(Mark mark) noexcept {
  const cudaEvent_t event = event_of(mark);
  if (event != nullptr) report_cuda(cudaEventSynchronize(event), "cudaEventSynchronize");
}

void CudaStreamOrder::forget(Mark mark) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = marks_.find(mark);
  if (found == marks_.end()) return;
  idle_.push_back(found->second);  // mark() reserved the place
  marks_.erase(found);
}

CudaStreamOrder& stream_order(int index) {
  static std::mutex& mutex = *new std::mutex;
  static auto& orders = *new std::map<int, std::unique_ptr<CudaStreamOrder>>;
  const std::lock_guard lock(mutex);
  auto& order = orders[index];
  if (order == nullptr) order = std::make_unique<CudaStreamOrder>(index);
  return *order;
}

}  // namespace elek::backends::cuda
