// SPDX-License-Identifier: Apache-2.0
// CudaStreamOrder: the Pool's marks on a device are events, which are made once and reused.
// Tests: tests/gpu/backend_pool_test.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <vector>

#include "elek/memory.h"

namespace elek::backends::cuda {

/// Marks on the streams of one device. After the device has failed, waiting ends at once; the failure shows elsewhere.
class CudaStreamOrder final : public StreamOrder {
 public:
  explicit CudaStreamOrder(int index) : index_(index) {}
  ~CudaStreamOrder() override;
  [[nodiscard]] Mark mark(Stream stream) noexcept override;
  [[nodiscard]] bool passed(Mark mark) noexcept override;
  void wait(Mark mark) noexcept override;
  void forget(Mark mark) noexcept override;

 private:
  [[nodiscard]] cudaEvent_t take_event();
  [[nodiscard]] cudaEvent_t event_of(Mark mark) const noexcept;
  const int index_;
  mutable std::mutex mutex_;
  std::map<Mark, cudaEvent_t> marks_;
  std::vector<cudaEvent_t> idle_;
  Mark last_ = kPassed;
};

/// The process's own, one per device, made at first use and never destroyed.
[[nodiscard]] CudaStreamOrder& stream_order(int index);

}  // namespace elek::backends::cuda
