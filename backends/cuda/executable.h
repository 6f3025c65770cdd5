// SPDX-License-Identifier: Apache-2.0
// A program bound to a GPU: weights, arena, statistics and staging on the device, two pinned slots on the host, and the pass
// over the steps. The pass of a full micro-batch is recorded once as a CUDA graph and replayed. With fewer samples it runs step
// by step, and no sums are taken inside a convolution: they would count what lies after the samples. The same function enqueues
// both. After the constructor nothing here allocates from a memory resource.
// Tests: tests/gpu/session_*_test.cpp.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/steps.h"
#include "elek/memory.h"
#include "kernels/cuda/channel_totals.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/pool.h"

namespace elek::backends::cuda {

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(int device, Program program, Notes notes, const Model& model, const MemoryPlan& plan, MemoryResource& memory);
  ~CudaExecutable() override;
  [[nodiscard]] std::span<Slot> slots() noexcept override { return slots_; }
  [[nodiscard]] int depth() const noexcept override { return kDepth; }
  void begin(const Slot& slot) override;
  [[nodiscard]] std::span<const float> end() override;
  [[nodiscard]] std::span<const float> run_timed(const Slot& slot, StepTimes& times) override;
  void read_statistics(Statistics& statistics) const override;
  void reset_statistics() override;
  [[nodiscard]] std::vector<BatchMoments> batch_moments() const override;
  [[nodiscard]] std::vector<float> stored_value(int32_t index) const override;
  [[nodiscard]] BoundMemory memory() const noexcept override;

 private:
  using View = kernels::cuda::CudaActivation;
  enum class Pass : uint8_t { kFull, kPartial };
  static constexpr int kDepth = 2;
  // Binding (bind.cpp).
  void lay_out_statistics();
  void load_weights(const Model& model, MemoryResource& memory);
  void load_kernel(const Model& model, size_t step, const Buffer& packing);
  void convert(kernels::cuda::WeightConversion conversion, const Tensor& from, const Buffer& packing, const std::string& owner,
               const char* what) const;
  void load_normalisation(const Model& model, const Step& step);
  void tie_fused_sums();
  void warm_up_and_record();
  void upload(const Buffer& slab, size_t offset, const void* from, size_t bytes) const;
  // Running (run.cpp).
  void run_slice(const uint8_t* pixels, int64_t samples, float* output);
  void enqueue_pass(size_t buffer, int64_t samples, Pass pass);
  void run_step(size_t index, int64_t samples, Pass pass);
  void mark(size_t at);
  void add_laps();
  void run_convolution(size_t index, int64_t samples, Pass pass);
  void run_linear(size_t index, int64_t samples);
  void finish(size_t index, const View& z, const View& y, const float* scale, const float* shift);
  void normalise_by_batch_moments(size_t index, const View& z, const View& y);
  void run_simple(size_t index, int64_t samples);
  void run_relayout(size_t index, const View& x, const View& y);
  void observe(size_t index, const View& y);
  void synchronise(const char* doing) const;
  void check(cudaError_t status, const char* doing) const;

  [[nodiscard]] View view(int32_t tensor, int64_t samples) const;
  [[nodiscard]] const kernels::cuda::ChannelTotals* totals_of(const Step& step) const;
  [[nodiscard]] kernels::cuda::PoolSums pool_sums(size_t index) const;
  [[nodiscard]] static std::byte* at(const Buffer& slab, size_t offset) {
    return offset == kNone ? nullptr : static_cast<std::byte*>(slab.data()) + offset;
  }
  template <typename T>
  [[nodiscard]] static T* typed(const Buffer& slab, size_t offset) {
    return reinterpret_cast<T*>(at(slab, offset));
  }
  /// `offset` in the step's workspace; null for kNone.
  [[nodiscard]] std::byte* workspace(size_t step, size_t offset) const {
    return offset == kNone ? nullptr : at(arena_, plan_.workspace_offsets[step]) + offset;
  }

  const int device_;
  Program program_;
  Notes notes_;
  MemoryPlan plan_;
  // Made on the device that the session runs on. The slabs are freed on stream_, so it outlives them.
  std::unique_ptr<CudaStream> stream_;
  std::unique_ptr<CudaStream> copies_;
  Buffer weights_;
  Buffer arena_;
  Buffer statistics_;
  Buffer staging_;
  Buffer pinned_;
  Staging staged_;
  std::array<Slot, 2> slots_;
  std::array<std::span<float>, kDepth> outputs_;      // pinned, one whole batch each
  std::array<int64_t, kDepth> counts_{};              // samples in each output
  std::vector<kernels::cuda::ChannelTotals> totals_;  // one per watched value
  std::vector<std::byte> nothing_seen_;               // the totals' first state, ready to upload
  int64_t most_fused_channels_ = 0;
  int64_t tied_sums_ = 0;
  int64_t samples_ = 0;  // since the last reset
  int64_t batches_ = 0;
  int64_t last_samples_ = 0;  // of the last run
  size_t turn_ = 0;           // micro-batches so far: selects the next pixel buffer
  size_t begun_ = 0;          // batches so far: selects the next output
  size_t ended_ = 0;
  std::unique_ptr<CudnnHandle> handle_;
  std::array<std::unique_ptr<CudaEvent>, 2> copied_;
  std::array<std::unique_ptr<CudaEvent>, 2> consumed_;
  std::unique_ptr<CudaEvent> pixels_read_;  // of the batch that was begun last
  std::array<std::unique_ptr<CudaEvent>, kDepth> outputs_there_;
  std::array<CudaGraph, 2> graphs_;
  StepTimes* times_ = nullptr;  // of the current run, if it is timed
  // For timed runs: before the first step, after each step, after the pass. The first timed run makes them.
  std::vector<std::unique_ptr<CudaEvent>> marks_;
};

}  // namespace elek::backends::cuda
