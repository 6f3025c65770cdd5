// SPDX-License-Identifier: Apache-2.0
// A program bound to the CPU's memory: four slabs (weights, arena, statistics, staging) and the loop over micro-batches and
// steps. After the constructor nothing here allocates from a memory resource. Tests: tests/golden/session_test.cpp,
// tests/golden/statistics_test.cpp, tests/golden/memory_test.cpp
#pragma once

#include <array>
#include <chrono>

#include "backends/cpu/steps.h"
#include "elek/memory.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::backends::cpu {

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(Program program, Notes notes, Model& model, const MemoryPlan& plan, MemoryResource& memory);
  [[nodiscard]] std::span<Slot> slots() noexcept override { return slots_; }
  [[nodiscard]] int depth() const noexcept override { return 1; }
  void begin(const Slot& slot) override;
  [[nodiscard]] std::span<const float> end() override;
  [[nodiscard]] std::span<const float> run_timed(const Slot& slot, StepTimes& times) override;
  [[nodiscard]] std::span<const float> run_values(std::span<const float> x, int64_t samples) override;
  void read_statistics(Statistics& statistics) const override;
  void reset_statistics() override;
  [[nodiscard]] std::vector<BatchMoments> batch_moments() const override;
  [[nodiscard]] std::vector<float> stored_value(int32_t index) const override;
  [[nodiscard]] BoundMemory memory() const noexcept override;

 private:
  // Binding (bind.cpp).
  void lay_out_statistics();
  void load_weights(Model& model, Device device);
  void load_kernel(const Model& model, const Step& step, const FusedNode& node, MemoryResource& memory);
  void load_normalisation(const Model& model, const Step& step);
  // Running (run.cpp).
  template <typename FillInput>
  void run_batch(int64_t samples, const FillInput& fill_input);
  void run_step(size_t index, int64_t samples);
  void run_kernel(size_t index, int64_t samples);
  void run_with_epilogue(size_t index, int64_t samples);
  void run_slice(size_t index, int64_t first, int64_t samples);
  void watch_taps(const Step& step, int64_t samples, int64_t first);
  template <typename Z, typename Y>
  void finish(const Step& step, const ActivationView<Z>& z, const ActivationView<Y>& y, const float* scale, const float* shift,
              const Y* residual);
  template <typename Z, typename Y>
  void normalise_by_batch_moments(size_t index, const ActivationView<Z>& z, const ActivationView<Y>& y, const Y* residual);
  template <typename T>
  void run_simple(size_t index, int64_t samples);
  template <typename T>
  void run_on_integers(size_t index, int64_t samples);
  void read_out(int32_t tensor, int64_t samples, float* to) const;
  void copy_out(int64_t first, int64_t samples);
  void lap(double& us);
  void lap_step(size_t index) {
    if (times_ != nullptr) lap(times_->step_us[index]);
  }

  [[nodiscard]] const ProgramTensor& tensor(int32_t index) const { return program_.tensors[static_cast<size_t>(index)]; }
  /// Address of sample `first` of a tensor.
  [[nodiscard]] std::byte* data_of(int32_t index, int64_t first = 0) const;
  /// T is the type in which the tensor is stored, or in which `data` is, if given.
  template <typename T>
  [[nodiscard]] ActivationView<T> view(int32_t index, int64_t samples, int64_t first = 0, std::byte* data = nullptr) const {
    const ProgramTensor& t = tensor(index);
    auto* const at = reinterpret_cast<T*>(data != nullptr ? data : data_of(index, first));
    return {at, samples, t.shape, t.layout, t.channel_pitch};
  }
  [[nodiscard]] const kernels::cpu::ChannelSums* sums_of(const Step& step) const;
  [[nodiscard]] static std::byte* at(const Buffer& slab, size_t offset) {
    return static_cast<std::byte*>(slab.data()) + offset;
  }
  [[nodiscard]] float* floats_at(const Buffer& slab, size_t offset) const;
  [[nodiscard]] double* doubles_at(const Buffer& slab, size_t offset) const;
  [[nodiscard]] std::byte* workspace(size_t step) const { return at(arena_, plan_.workspace_offsets[step]); }

  Program program_;
  Notes notes_;
  MemoryPlan plan_;
  Buffer weights_;
  Buffer arena_;
  Buffer statistics_;
  Buffer staging_;
  std::array<Slot, 2> slots_;
  std::span<float> output_;
  std::vector<kernels::cpu::ChannelSums> sums_;  // one per watched value
  int64_t samples_ = 0;                          // since the last reset
  int64_t batches_ = 0;
  int64_t last_samples_ = 0;    // of the last run
  StepTimes* times_ = nullptr;  // of the run under way, if it is timed
  std::chrono::steady_clock::time_point lap_start_;
};

}  // namespace elek::backends::cpu
